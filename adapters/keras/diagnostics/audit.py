"""Audit of a model or a layer."""

from initlib._public import public
from initlib.diagnostics.audit.audit import Audit, audit_tensors
from initlib.files.readers.stored_tensor import StoredTensor

from ..models.tensors import weights
from ..models.types import Layer
from .arrays import array, axes_of


@public("initlib.adapters.keras")
def audit(model: Layer, *, axes: str | None = None) -> Audit:
    """Audit the weights of a model or layer (see `initlib.audit`).

    Args:
        model: a built model or layer.
        axes: the order of axes, "OI..." or "...IO", of variables whose layer does not state the axes.

    Returns:
        The measured statistics and the scheme of each variable.

    Raises:
        ValueError: `axes` is not allowed.

    Example:
        >>> import keras
        >>> import initlib.adapters.keras as init
        >>> layer = keras.layers.Dense(128, kernel_initializer=init.HeNormal(seed=0), use_bias=False)
        >>> layer.build((None, 64))
        >>> init.audit(layer).tensors[0].scheme
        'he_normal'
    """
    tensors = (
        StoredTensor.of(weight.names[0], array(weight.variable), axes=axes_of(weight)) for weight in weights(model)
    )
    return audit_tensors([("", "...IO", tensors)], axes)

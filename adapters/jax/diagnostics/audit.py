"""Audit of a pytree of arrays."""

from initlib._public import public
from initlib.diagnostics.audit.audit import Audit, audit_tensors
from initlib.files.readers.stored_tensor import StoredTensor

from ..models.tensors import Tree
from .arrays import array, axes_of, named_arrays


@public("initlib.adapters.jax")
def audit(params: Tree, *, axes: str | None = None) -> Audit:
    """Audit the arrays of a pytree (see `initlib.audit`).

    Args:
        params: a pytree of arrays.
        axes: the order of axes, "OI..." or "...IO"; None takes the axes from the names and classes of the tree.

    Returns:
        The measured statistics and the scheme of each array.

    Raises:
        ValueError: `axes` is not allowed.

    Example:
        >>> import jax
        >>> import initlib.adapters.jax as init
        >>> init.audit({"kernel": init.he_normal()(jax.random.key(0), (64, 128))}).tensors[0].scheme
        'he_normal'
    """
    arrays, _ = named_arrays(params)
    tensors = (
        StoredTensor.of(leaf.names[0], array(leaf.value), axes=roles)
        for leaf, roles in zip(arrays, axes_of(arrays), strict=True)
    )
    return audit_tensors([("", "...IO", tensors)], axes)

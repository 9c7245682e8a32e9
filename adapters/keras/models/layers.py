"""Roles of the variables of a layer: the axes, the kind and the initializer that the layer states."""

# mypy: disable-error-code="import-untyped"
# Keras comes without types, so its classes are Any.

from typing import TypeVar

from keras import layers

import initlib
from initlib import keep, ones, parts, truncated_normal
from initlib._public import public
from initlib.adapters.common import roles
from initlib.adapters.common.einsum_axes import einsum_axes
from initlib.plans.fills.values import Fill

from .._private import ConvLSTMCell, frequencies, held
from ..drawing.draw import InitlibMixin
from .constructor_values import constant_value
from .layer_initializers import CLASSES, as_core, draws, only_initializer, own_initializer
from .types import Layer

STATE = roles.BUFFER._replace(default=keep)

LayerClass = TypeVar("LayerClass", bound=type)


def _field(layer: Layer) -> str:
    return roles.field(len(layer.kernel_size))


def _lora(axes: str) -> roles.Roles:
    return {"lora_kernel_a": roles.LORA_A._replace(axes=axes), "lora_kernel_b": roles.LORA_B}


def _einsum_dense(layer: Layer) -> roles.Roles:
    axes = einsum_axes(layer.equation)
    return {"kernel": roles.kernel(axes), "bias": roles.BIAS, **_lora(axes[:-1] + "O")}


def _convolution(layer: Layer) -> roles.Roles:
    """Return the roles of a layer with a kernel for each group, packed into the outputs."""
    axes = f"{_field(layer)}I{roles.packed(layer.groups)}"
    return {"kernel": roles.kernel(axes), "bias": roles.BIAS, **_lora(f"{_field(layer)}IO")}


def _separable(layer: Layer) -> roles.Roles:
    depthwise, pointwise = (roles.kernel(_field(layer) + channels) for channels in ("BO", "IO"))
    return {"depthwise_kernel": depthwise, "pointwise_kernel": pointwise, "bias": roles.BIAS}


def _recurrent(gates: str, field: str = "") -> roles.Roles:
    """Return the roles of a cell with a matrix for each gate, packed into the outputs."""
    axes = f"{field}I{gates}"
    recurrent = roles.ParameterRole(axes, "recurrent")
    return {"kernel": roles.kernel(axes), "recurrent_kernel": recurrent, "bias": roles.BIAS}


def _lstm(layer: Layer) -> roles.Roles:
    known = _recurrent("(4 O)", roles.field(layer.rank) if isinstance(layer, ConvLSTMCell) else "")
    start = as_core(layer.bias_initializer, ())
    if layer.unit_forget_bias and isinstance(start, initlib.Initializer):
        gates = {"bias_i": start, "bias_f": ones, "bias_c": start, "bias_o": start}  # Jozefowicz et al. 2015
        known["bias"] = roles.BIAS._replace(default=parts({name: (1, each) for name, each in gates.items()}))
    return known


def _spectrogram(layer: Layer) -> roles.Roles:
    made = (layer.window, layer.scaling, layer.periodic)
    shape = (layer.frame_length, 1, frequencies(layer))
    fills = {side: as_core(CLASSES["STFT"](side, *made), shape) for side in ("real", "imag")}
    return {f"{side}_kernel": roles.ParameterRole("HIO", "other", fill) for side, fill in fills.items()}


DENSE = {"kernel": roles.KERNEL, "bias": roles.BIAS, **_lora("IO")}
EMBEDDING = {
    "embeddings": roles.TABLE,
    "reverse_embeddings": roles.KERNEL,
    "lora_embeddings_a": roles.LORA_A,
    "lora_embeddings_b": roles.LORA_B,
}
NORM = {"gamma": roles.SCALE, "beta": roles.BIAS}
ONES = roles.SCALE._replace(default=ones)
ESTIMATE = roles.BUFFER._replace(default=truncated_normal(std=0.02))

KERAS: roles.Table = {
    layers.Dense: DENSE,
    layers.EinsumDense: _einsum_dense,
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), _convolution),
    **dict.fromkeys(
        (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose),
        lambda layer: {"kernel": roles.kernel(_field(layer) + "OI"), "bias": roles.BIAS},
    ),
    **dict.fromkeys(
        (layers.DepthwiseConv1D, layers.DepthwiseConv2D),
        lambda layer: {"kernel": roles.kernel(_field(layer) + "BO"), "bias": roles.BIAS},
    ),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), _separable),
    layers.Embedding: EMBEDDING,
    layers.SimpleRNNCell: _recurrent("O"),
    layers.GRUCell: _recurrent("(3 O)"),
    layers.LSTMCell: _lstm,
    ConvLSTMCell: _lstm,
    layers.RNN: {"rnn_state": STATE},
    layers.Attention: dict.fromkeys(("scale", "concat_score_weight"), ONES),
    layers.AdditiveAttention: {"scale": roles.SCALE._replace(default=initlib.glorot_uniform)},
    layers.BatchNormalization: {**NORM, "moving_mean": roles.BUFFER, "moving_variance": roles.BUFFER},
    layers.LayerNormalization: NORM,
    layers.GroupNormalization: NORM,
    layers.RMSNormalization: {"scale": ONES},
    layers.SpectralNormalization: {"vector_u": ESTIMATE},
    layers.Normalization: dict.fromkeys(("mean", "variance", "count"), STATE),
    layers.PReLU: {"alpha": roles.SCALE},
    layers.STFTSpectrogram: _spectrogram,
}

_declared = roles.Declarations()


@public("initlib.adapters.keras")
def declare(cls: LayerClass, /, **axes: str) -> LayerClass:
    """Declare the roles of the axes of a layer's variables, for all later plans.

    A layer or its class may instead have an attribute `initlib_axes = {"up": "BIO"}`.

    Args:
        cls: a class of `keras.layers.Layer`.
        **axes: an axes string for each variable, by the name of the variable.

    Returns:
        The class.

    Raises:
        TypeError: `cls` is not a class of layers.
        ValueError: a string is not a valid axes string.

    Example:
        >>> import keras
        >>> class Experts(keras.layers.Layer):
        ...     def build(self, input_shape):
        ...         self.up = self.add_weight(name="up", shape=(8, input_shape[-1], 64))
        >>> declare(Experts, up="BIO") is Experts
        True
    """
    if not (isinstance(cls, type) and issubclass(cls, layers.Layer)):
        raise TypeError(f"cls must be a class of keras.layers.Layer, got {cls!r}")
    _declared.add(cls, axes)
    return cls


def layer_roles(layer: Layer) -> roles.Roles:
    """Return the roles of the layer's variables, by name; the default of a role is the initializer of its layer."""
    cls = type(layer)
    names = [variable.name for variable in held(layer)]
    stated = roles.of_class(KERAS, cls, layer) or {}
    known = {name: role for name, role in stated.items() if name in names}
    known = _declared.roles(cls, layer, known, names.__contains__, names)
    for variable in held(layer):
        name, shape = variable.name, tuple(variable.shape)
        role = known.get(name) or (roles.BIAS if name in ("bias", "beta") else roles.UNKNOWN)
        initializer = own_initializer(layer, name)
        if role.default is None:
            role = role._replace(default=as_core(initializer, shape))
        if role == roles.UNKNOWN and sum(size > 1 for size in shape) > 1 and constant_value(variable) is None:
            role = _of_name(name, len(shape), as_core(only_initializer(layer), shape))
        if isinstance(initializer, InitlibMixin) and initializer.axes is not None:
            role = role._replace(axes=initializer.axes)
        known[name] = role
    return known


def _of_name(name: str, ndim: int, fill: Fill | None) -> roles.ParameterRole:
    """Return the role of a variable that its layer does not describe; `fill` is the layer's only initializer.

    The variable is a table, experts, or a kernel of two axes, inputs before outputs, as in Keras.
    """
    is_table = "embedding" in name
    if not (is_table or draws(fill)):
        return roles.UNKNOWN
    axes = "IO" if ndim == 2 else "BIO" if ndim == 3 and (is_table or "expert" in name) else None
    return roles.ParameterRole(axes, "table" if is_table else "kernel", fill)

"""Roles of the variables of a layer: the axes, the kind and the initializer that the layer states."""

# mypy: disable-error-code="import-untyped"
# Keras comes without types, so its classes are Any.

from collections.abc import Callable
from typing import Any, TypeVar

from keras import layers

import initlib
from initlib import he_uniform, keep, ones, parts, truncated_normal, zeros
from initlib._public import public
from initlib.adapters.common.einsum_axes import einsum_axes
from initlib.adapters.common.roles import Declarations, ParameterRole
from initlib.plans.rules.values import Fill

from .._private import ConvLSTMCell, frequencies, held
from ..drawing.draw import InitlibMixin
from .constructor_values import constant_value
from .layer_initializers import CLASSES, as_core, draws, only_initializer, own_initializer

UNKNOWN = ParameterRole(None, "other")
KERNEL = ParameterRole("IO", "kernel")
BIAS = ParameterRole(None, "bias")
SCALE = ParameterRole(None, "scale")
TABLE = ParameterRole("IO", "table")
STATE = ParameterRole(None, "buffer", keep)

Roles = dict[str, ParameterRole]
Layer = TypeVar("Layer", bound=type)

FIELD = "DHW"  # the letters of a convolution's kernel, of one to three axes

# The product of LoRA's two matrices, which is zero at first, is added to a kernel.
LORA_A = ParameterRole("IO", "kernel", he_uniform)
LORA_B = ParameterRole("IO", "other", zeros)


def _field(layer: Any) -> str:
    return FIELD[-len(layer.kernel_size) :]


def _dense(layer: Any) -> Roles:
    return {"kernel": KERNEL, "bias": BIAS, "lora_kernel_a": LORA_A, "lora_kernel_b": LORA_B}


def _einsum_dense(layer: Any) -> Roles:
    axes = einsum_axes(layer.equation)
    return {
        "kernel": ParameterRole(axes, "kernel"),
        "bias": BIAS,
        "lora_kernel_a": ParameterRole(axes[:-1] + "O", "kernel", he_uniform),
        "lora_kernel_b": LORA_B,
    }


def _convolution(layer: Any) -> Roles:
    """Return the roles of a layer with a kernel for each group, packed into the outputs."""
    outputs = f"({layer.groups} O)" if layer.groups > 1 else "O"
    return {
        "kernel": ParameterRole(f"{_field(layer)}I{outputs}", "kernel"),
        "bias": BIAS,
        "lora_kernel_a": ParameterRole(f"{_field(layer)}IO", "kernel", he_uniform),
        "lora_kernel_b": LORA_B,
    }


def _transposed(layer: Any) -> Roles:
    return {"kernel": ParameterRole(f"{_field(layer)}OI", "kernel"), "bias": BIAS}


def _depthwise(layer: Any) -> Roles:
    return {"kernel": ParameterRole(f"{_field(layer)}BO", "kernel"), "bias": BIAS}


def _separable(layer: Any) -> Roles:
    field = _field(layer)
    return {
        "depthwise_kernel": ParameterRole(f"{field}BO", "kernel"),
        "pointwise_kernel": ParameterRole(f"{field}IO", "kernel"),
        "bias": BIAS,
    }


def _embedding(layer: Any) -> Roles:
    return {
        "embeddings": TABLE,
        "reverse_embeddings": KERNEL,
        "lora_embeddings_a": LORA_A,
        "lora_embeddings_b": LORA_B,
    }


def _recurrent(gates: str, field: str = "") -> Roles:
    """Return the roles of a cell with a matrix for each gate, packed into the outputs."""
    axes = f"{field}I{gates}"
    return {"kernel": ParameterRole(axes, "kernel"), "recurrent_kernel": ParameterRole(axes, "recurrent"), "bias": BIAS}


def _lstm(layer: Any) -> Roles:
    known = _recurrent("(4 O)", FIELD[-layer.rank :] if isinstance(layer, ConvLSTMCell) else "")
    start = as_core(layer.bias_initializer, ())
    if layer.unit_forget_bias and isinstance(start, initlib.Initializer):
        gates = {"bias_i": start, "bias_f": ones, "bias_c": start, "bias_o": start}  # Jozefowicz et al. 2015
        known["bias"] = BIAS._replace(default=parts({name: (1, each) for name, each in gates.items()}))
    return known


def _spectrogram(layer: Any) -> Roles:
    made = (layer.window, layer.scaling, layer.periodic)
    shape = (layer.frame_length, 1, frequencies(layer))
    fills = {side: as_core(CLASSES["STFT"](side, *made), shape) for side in ("real", "imag")}
    return {f"{side}_kernel": ParameterRole("HIO", "other", fill) for side, fill in fills.items()}


def _norm(layer: Any) -> Roles:
    return {"gamma": SCALE, "beta": BIAS}


KERAS: dict[type, Callable[[Any], Roles]] = {
    layers.Dense: _dense,
    layers.EinsumDense: _einsum_dense,
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), _convolution),
    **dict.fromkeys((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), _transposed),
    **dict.fromkeys((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _depthwise),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), _separable),
    layers.Embedding: _embedding,
    layers.SimpleRNNCell: lambda layer: _recurrent("O"),
    layers.GRUCell: lambda layer: _recurrent("(3 O)"),
    layers.LSTMCell: _lstm,
    ConvLSTMCell: _lstm,
    layers.RNN: lambda layer: {"rnn_state": STATE},
    layers.Attention: lambda layer: dict.fromkeys(("scale", "concat_score_weight"), SCALE._replace(default=ones)),
    layers.AdditiveAttention: lambda layer: {"scale": SCALE._replace(default=initlib.glorot_uniform)},
    layers.BatchNormalization: lambda layer: {
        **_norm(layer),
        "moving_mean": ParameterRole(None, "buffer"),
        "moving_variance": ParameterRole(None, "buffer"),
    },
    layers.LayerNormalization: _norm,
    layers.GroupNormalization: _norm,
    layers.RMSNormalization: lambda layer: {"scale": SCALE._replace(default=ones)},
    layers.SpectralNormalization: lambda layer: {
        "vector_u": ParameterRole(None, "buffer", truncated_normal(std=0.02))  # an estimate
    },
    layers.Normalization: lambda layer: dict.fromkeys(("mean", "variance", "count"), STATE),
    layers.PReLU: lambda layer: {"alpha": SCALE},
    layers.STFTSpectrogram: _spectrogram,
}

_declared = Declarations()


@public("initlib.adapters.keras")
def declare(cls: Layer, /, **axes: str) -> Layer:
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


def roles(layer: Any) -> Roles:
    """Return the roles of the layer's variables, by name; the default of a role is the initializer of its layer."""
    cls = type(layer)
    names = [variable.name for variable in held(layer)]
    table = next((KERAS[base] for base in cls.__mro__ if base in KERAS), None)
    known = {name: role for name, role in (table(layer) if table else {}).items() if name in names}
    known = _declared.meanings(cls, layer, known, names.__contains__, names)
    for variable in held(layer):
        name, shape = variable.name, tuple(variable.shape)
        role = known.get(name) or (BIAS if name in ("bias", "beta") else UNKNOWN)
        initializer = own_initializer(layer, name)
        if role.default is None:
            role = role._replace(default=as_core(initializer, shape))
        if role == UNKNOWN and sum(size > 1 for size in shape) > 1 and constant_value(variable) is None:
            role = _of_name(name, len(shape), as_core(only_initializer(layer), shape))
        if isinstance(initializer, InitlibMixin) and initializer.axes is not None:
            role = role._replace(axes=initializer.axes)
        known[name] = role
    return known


def _of_name(name: str, ndim: int, fill: Fill | None) -> ParameterRole:
    """Return the role of a variable that its layer does not describe; `fill` is the layer's only initializer.

    The variable is a table, experts, or a kernel of two axes, inputs before outputs, as in Keras.
    """
    is_table = "embedding" in name
    if not (is_table or draws(fill)):
        return UNKNOWN
    axes = "IO" if ndim == 2 else "BIO" if ndim == 3 and (is_table or "expert" in name) else None
    return ParameterRole(axes, "table" if is_table else "kernel", fill)

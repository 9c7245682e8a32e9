"""Layers: what each variable of a layer means to it, hence its axes, its kind and its own start."""

# mypy: disable-error-code="import-untyped"
# Keras comes without types, so its classes are Any.

from collections.abc import Callable
from typing import Any, TypeVar

import keras
from keras import layers

import initlib
from initlib import he_uniform, keep, ones, parts, truncated_normal, zeros
from initlib._public import public
from initlib.adapters.common.einsum_axes import einsum_axes
from initlib.adapters.common.roles import Declarations, ParameterRole

from .._private import ConvLSTMCell, held
from ..drawing.draw import InitlibMixin
from .layer_initializers import as_core, own_initializer

UNKNOWN = ParameterRole(None, "other")
KERNEL = ParameterRole("IO", "kernel")
BIAS = ParameterRole(None, "bias")
SCALE = ParameterRole(None, "scale")
TABLE = ParameterRole("IO", "table")  # a one-hot input times a matrix: a row for each input
STATE = ParameterRole(None, "buffer", keep)

Meanings = dict[str, ParameterRole]
Layer = TypeVar("Layer", bound=type)

FIELD = "DHW"  # the letters of a convolution's kernel, of one to three axes

# LoRA's two matrices: their product is added to a kernel, and is zero at first.
LORA_A = ParameterRole("IO", "kernel", he_uniform)
LORA_B = ParameterRole("IO", "other", zeros)
FIXED = ("lora_kernel_b", "lora_embeddings_b")  # no default goes before their own start


def _field(layer: Any) -> str:
    return FIELD[-len(layer.kernel_size) :]


def _dense(layer: Any) -> Meanings:
    return {"kernel": KERNEL, "bias": BIAS, "lora_kernel_a": LORA_A, "lora_kernel_b": LORA_B}


def _einsum_dense(layer: Any) -> Meanings:
    axes = einsum_axes(layer.equation)
    return {
        "kernel": ParameterRole(axes, "kernel"),
        "bias": BIAS,
        "lora_kernel_a": ParameterRole(axes[:-1] + "O", "kernel", he_uniform),
        "lora_kernel_b": LORA_B,
    }


def _convolution(layer: Any) -> Meanings:
    """A kernel a group, packed into the outputs."""
    outputs = f"({layer.groups} O)" if layer.groups > 1 else "O"
    return {
        "kernel": ParameterRole(f"{_field(layer)}I{outputs}", "kernel"),
        "bias": BIAS,
        "lora_kernel_a": ParameterRole(f"{_field(layer)}IO", "kernel", he_uniform),
        "lora_kernel_b": LORA_B,
    }


def _transposed(layer: Any) -> Meanings:
    return {"kernel": ParameterRole(f"{_field(layer)}OI", "kernel"), "bias": BIAS}


def _depthwise(layer: Any) -> Meanings:
    return {"kernel": ParameterRole(f"{_field(layer)}BO", "kernel"), "bias": BIAS}


def _separable(layer: Any) -> Meanings:
    field = _field(layer)
    return {
        "depthwise_kernel": ParameterRole(f"{field}BO", "kernel"),
        "pointwise_kernel": ParameterRole(f"{field}IO", "kernel"),
        "bias": BIAS,
    }


def _embedding(layer: Any) -> Meanings:
    return {
        "embeddings": TABLE,
        "reverse_embeddings": KERNEL,
        "lora_embeddings_a": LORA_A,
        "lora_embeddings_b": LORA_B,
    }


def _recurrent(gates: str, field: str = "") -> Meanings:
    """A matrix a gate, packed into the outputs."""
    axes = f"{field}I{gates}"
    return {"kernel": ParameterRole(axes, "kernel"), "recurrent_kernel": ParameterRole(axes, "recurrent"), "bias": BIAS}


def _lstm(layer: Any) -> Meanings:
    known = _recurrent("(4 O)", FIELD[-layer.rank :] if isinstance(layer, ConvLSTMCell) else "")
    start = as_core(layer.bias_initializer, ())
    if layer.unit_forget_bias and isinstance(start, initlib.Initializer):
        gates = {"bias_i": start, "bias_f": ones, "bias_c": start, "bias_o": start}  # Jozefowicz et al. 2015
        known["bias"] = BIAS._replace(default=parts({name: (1, each) for name, each in gates.items()}))
    return known


def _spectrogram(layer: Any) -> Meanings:
    made = (layer.window, layer.scaling, layer.periodic)
    shape = (layer.frame_length, 1, layer._fft_length // 2 + 1)
    starts = {side: as_core(keras.initializers.STFT(side, *made), shape) for side in ("real", "imag")}
    return {f"{side}_kernel": ParameterRole("HIO", "other", start) for side, start in starts.items()}


def _norm(layer: Any) -> Meanings:
    return {"gamma": SCALE, "beta": BIAS}


KERAS: dict[type, Callable[[Any], Meanings]] = {
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
        "vector_u": ParameterRole(None, "buffer", truncated_normal(std=0.02))  # an estimate, which a step makes better
    },
    layers.Normalization: lambda layer: dict.fromkeys(("mean", "variance", "count"), STATE),
    layers.PReLU: lambda layer: {"alpha": SCALE},  # of what is negative
    layers.STFTSpectrogram: _spectrogram,
}

_declared = Declarations()


@public("initlib.adapters.keras")
def declare(cls: Layer, /, **axes: str) -> Layer:
    """Say what the axes of a layer's variables mean, for all plans from now on, and return the class.

    >>> class Experts(keras.layers.Layer):
    ...     def build(self, input_shape):
    ...         self.up = self.add_weight(name="up", shape=(8, input_shape[-1], 64))
    >>> declare(Experts, up="BIO") is Experts
    True

    The names are those of the variables. A layer may say so itself, by an attribute of its class or of its own:
    `initlib_axes = {"up": "BIO"}`. Raises TypeError for what is no layer class; ValueError for axes that are none.
    """
    if not (isinstance(cls, type) and issubclass(cls, layers.Layer)):
        raise TypeError(f"cls must be a class of keras.layers.Layer, got {cls!r}")
    _declared.add(cls, axes)
    return cls


def meanings(layer: Any) -> Meanings:
    """What is known of the layer's variables, by name; the start of each is the default of its meaning."""
    cls = type(layer)
    names = [variable.name for variable in held(layer)]
    table = next((KERAS[base] for base in cls.__mro__ if base in KERAS), None)
    known = {name: meaning for name, meaning in (table(layer) if table else {}).items() if name in names}
    known = _declared.meanings(cls, layer, known, names.__contains__, names)
    for variable in held(layer):
        name = variable.name
        meaning = known.get(name) or (BIAS if name in ("bias", "beta") else UNKNOWN)
        initializer = own_initializer(layer, name)
        if meaning.default is None:
            meaning = meaning._replace(default=as_core(initializer, tuple(variable.shape)))
        if isinstance(initializer, InitlibMixin) and initializer.axes is not None:
            meaning = meaning._replace(axes=initializer.axes)  # said where the layer was made
        known[name] = meaning
    return known

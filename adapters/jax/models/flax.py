"""Flax's modules: what each variable of a module of `flax.nnx` means to it."""

from collections.abc import Callable
from typing import Any

from flax import nnx
from flax.core.meta import AxisMetadata

from initlib import he_uniform, ones, zeros
from initlib.adapters.common.einsum_axes import einsum_axes
from initlib.adapters.common.roles import ParameterRole

# What holds an array together with what is said of it.
BOXES = (nnx.Variable, AxisMetadata)

KERNEL = ParameterRole("IO", "kernel")
BIAS = ParameterRole(None, "bias")
SCALE = ParameterRole(None, "scale")
FIELD = "DHW"  # the letters of a convolution's kernel, of one to three axes

Meanings = dict[str, ParameterRole]


def _linear_general(module: Any) -> Meanings:
    axes = "B" * len(module.batch_axis) + "I" * len(module.in_features) + "O" * len(module.out_features)
    return {"kernel": ParameterRole(axes, "kernel"), "bias": BIAS}


def _convolution(module: Any) -> Meanings:
    """A kernel a group, packed into the outputs."""
    groups = module.feature_group_count
    outputs = f"({groups} O)" if groups > 1 else "O"
    return {"kernel": ParameterRole(f"{FIELD[-len(module.kernel_size) :]}I{outputs}", "kernel"), "bias": BIAS}


def _transposed(module: Any) -> Meanings:
    channels = "OI" if module.transpose_kernel else "IO"
    return {"kernel": ParameterRole(FIELD[-len(module.kernel_size) :] + channels, "kernel"), "bias": BIAS}


def _norm(module: Any) -> Meanings:
    return {"scale": SCALE, "bias": BIAS}


FLAX: dict[type, Callable[[Any], Meanings]] = {
    nnx.Linear: lambda module: {"kernel": KERNEL, "bias": BIAS},
    nnx.LinearGeneral: _linear_general,
    nnx.Einsum: lambda module: {"kernel": ParameterRole(einsum_axes(module.einsum_str), "kernel"), "bias": BIAS},
    nnx.Conv: _convolution,
    nnx.ConvTranspose: _transposed,
    nnx.Embed: lambda module: {"embedding": ParameterRole("IO", "table")},
    nnx.BatchNorm: lambda module: {
        **_norm(module),
        "mean": ParameterRole(None, "buffer", zeros),
        "var": ParameterRole(None, "buffer", ones),
    },
    **dict.fromkeys((nnx.LayerNorm, nnx.RMSNorm, nnx.GroupNorm, nnx.InstanceNorm), _norm),
    nnx.LoRA: lambda module: {
        "lora_a": ParameterRole("IO", "kernel", he_uniform),
        "lora_b": ParameterRole("IO", "other", zeros),
    },
}

GATES: dict[type, int] = {nnx.GRUCell: 3, nnx.OptimizedLSTMCell: 4}


def is_state(box: Any) -> bool:
    """Whether it is a variable of nnx that is no parameter: a statistic, a cache, a state of an optimizer."""
    return isinstance(box, nnx.Variable) and not isinstance(box, nnx.Param)


def flax_meanings(module: Any, around: Any) -> Meanings:
    """What is known of a module's variables, by name; a cell around it packs a matrix a gate into its kernels."""
    known = next((FLAX[base](module) for base in type(module).__mro__ if base in FLAX), {})
    gates = next((GATES[base] for base in type(around).__mro__ if base in GATES), None)
    return {**known, "kernel": ParameterRole(f"I({gates} O)", "kernel")} if gates and "kernel" in known else known

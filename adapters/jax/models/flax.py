"""Flax's modules: the role of each variable of a module of `flax.nnx`."""

from collections.abc import Callable
from typing import Any

from flax import nnx
from flax.core.meta import AxisMetadata

from initlib import he_uniform, ones, zeros
from initlib.adapters.common.einsum_axes import einsum_axes
from initlib.adapters.common.roles import ParameterRole

# Objects that hold an array and metadata.
BOXES = (nnx.Variable, AxisMetadata)

KERNEL = ParameterRole("IO", "kernel")
BIAS = ParameterRole(None, "bias")
SCALE = ParameterRole(None, "scale")
FIELD = "DHW"  # the letters of a convolution's kernel, of one to three axes

Roles = dict[str, ParameterRole]


def _linear_general(module: Any) -> Roles:
    axes = "B" * len(module.batch_axis) + "I" * len(module.in_features) + "O" * len(module.out_features)
    return {"kernel": ParameterRole(axes, "kernel"), "bias": BIAS}


def _convolution(module: Any) -> Roles:
    """Return the roles of a layer with a kernel for each group, packed into the outputs."""
    groups = module.feature_group_count
    outputs = f"({groups} O)" if groups > 1 else "O"
    return {"kernel": ParameterRole(f"{FIELD[-len(module.kernel_size) :]}I{outputs}", "kernel"), "bias": BIAS}


def _transposed(module: Any) -> Roles:
    channels = "OI" if module.transpose_kernel else "IO"
    return {"kernel": ParameterRole(FIELD[-len(module.kernel_size) :] + channels, "kernel"), "bias": BIAS}


def _norm(module: Any) -> Roles:
    return {"scale": SCALE, "bias": BIAS}


FLAX: dict[type, Callable[[Any], Roles]] = {
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
        "lora_b": ParameterRole("IO", "other", zeros),  # so that the sum is at first the layer alone
    },
}

GATES: dict[type, int] = {nnx.GRUCell: 3, nnx.OptimizedLSTMCell: 4}


def is_state(box: Any, module: Any) -> bool:
    """Return whether an array is no parameter of nnx: a statistic, a cache, a bare array of a module."""
    if isinstance(box, nnx.Variable):
        return not isinstance(box, nnx.Param)
    return module is not None


def flax_roles(module: Any, around: Any) -> Roles:
    """Return the roles of a module's variables, by name; a cell around it packs a matrix for each gate in a kernel."""
    roles = next((FLAX[base](module) for base in type(module).__mro__ if base in FLAX), {})
    gates = next((GATES[base] for base in type(around).__mro__ if base in GATES), None)
    return {**roles, "kernel": ParameterRole(f"I({gates} O)", "kernel")} if gates and "kernel" in roles else roles

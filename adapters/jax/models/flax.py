"""Flax's modules: the role of each variable of a module of `flax.nnx`."""

from typing import Any

from flax import nnx
from flax.core.meta import AxisMetadata

from initlib import ones, zeros
from initlib.adapters.common import roles
from initlib.adapters.common.einsum_axes import einsum_axes

# Objects that hold an array and metadata.
BOXES = (nnx.Variable, AxisMetadata)


def _linear_general(module: Any) -> roles.Roles:
    axes = "B" * len(module.batch_axis) + "I" * len(module.in_features) + "O" * len(module.out_features)
    return {"kernel": roles.kernel(axes), "bias": roles.BIAS}


def _convolution(module: Any) -> roles.Roles:
    """Return the roles of a layer with a kernel for each group, packed into the outputs."""
    axes = f"{roles.field(len(module.kernel_size))}I{roles.packed(module.feature_group_count)}"
    return {"kernel": roles.kernel(axes), "bias": roles.BIAS}


def _transposed(module: Any) -> roles.Roles:
    channels = "OI" if module.transpose_kernel else "IO"
    return {"kernel": roles.kernel(roles.field(len(module.kernel_size)) + channels), "bias": roles.BIAS}


NORM = {"scale": roles.SCALE, "bias": roles.BIAS}
FLAX: roles.Table = {
    nnx.Linear: {"kernel": roles.KERNEL, "bias": roles.BIAS},
    nnx.LinearGeneral: _linear_general,
    nnx.Einsum: lambda module: {"kernel": roles.kernel(einsum_axes(module.einsum_str)), "bias": roles.BIAS},
    nnx.Conv: _convolution,
    nnx.ConvTranspose: _transposed,
    nnx.Embed: {"embedding": roles.TABLE},
    nnx.BatchNorm: {**NORM, "mean": roles.BUFFER._replace(default=zeros), "var": roles.BUFFER._replace(default=ones)},
    **dict.fromkeys((nnx.LayerNorm, nnx.RMSNorm, nnx.GroupNorm, nnx.InstanceNorm), NORM),
    nnx.LoRA: {"lora_a": roles.LORA_A, "lora_b": roles.LORA_B},
}
# A cell packs a matrix for each gate into the kernel of a module inside.
CELLS: roles.Table = {
    nnx.GRUCell: {"kernel": roles.kernel("I(3 O)")},
    nnx.OptimizedLSTMCell: {"kernel": roles.kernel("I(4 O)")},
}


def is_state(box: Any, module: Any) -> bool:
    """Return whether an array is no parameter of nnx: a statistic, a cache, a bare array of a module."""
    if isinstance(box, nnx.Variable):
        return not isinstance(box, nnx.Param)
    return module is not None


def flax_roles(module: Any, around: Any) -> roles.Roles:
    """Return the roles of a module's variables, by name; `around` is the module that holds it, such as a cell."""
    own = roles.of_class(FLAX, type(module), module) or {}
    return own | (roles.of_class(CELLS, type(around), around) or {}) if "kernel" in own else own

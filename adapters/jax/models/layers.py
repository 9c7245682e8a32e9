"""Roles of arrays, by the class that owns them or by the names that Flax gives."""

import re
import sys
from typing import TypeVar

from initlib import ones, zeros
from initlib._public import public
from initlib.adapters.common import roles

from .equinox import equinox_roles
from .tensors import Leaf

Class = TypeVar("Class", bound=type)

NAMED = {"bias": roles.BIAS, "scale": roles.SCALE, "embedding": roles.TABLE}
LORA = {"lora_a": roles.LORA_A, "lora_b": roles.LORA_B}
STATISTICS = {"mean": zeros, "var": ones}
ATTENTION = {"query", "key", "value", "out"}
GATED = {"dense_i", "dense_h"}
BATCHES = "batch_stats"  # linen's collection of statistics, also in a custom TrainState
OPTIMIZER = "opt_state"  # the state of an optimizer, in Flax's TrainState and nnx.Optimizer
DIRECTIONS = ("/u", "'u')")  # the ends of the names of SpectralNorm's estimates, which a rule may draw

_declared = roles.Declarations()


@public("initlib.adapters.jax")
def declare(cls: Class, /, **axes: str) -> Class:
    """Declare the roles of the axes of a module's parameters, for all later plans.

    A module or its class may instead have an attribute `initlib_axes = {"up": "BIO"}`. For Flax linen, pass
    `axes={"*.up": "BIO"}` to `plan` and `initialize`, because trees of linen contain no modules.

    Args:
        cls: the class of modules in the tree: a module of `flax.nnx` or Equinox, or a dataclass.
        **axes: the axes string of each parameter, by the name of the attribute (see `initlib.fans`).

    Returns:
        The class.

    Raises:
        TypeError: `cls` is not a class.
        ValueError: a string is not a valid axes string.

    Example:
        >>> class Experts:
        ...     def __init__(self, up):
        ...         self.up = up
        >>> declare(Experts, up="BIO") is Experts
        True
    """
    if not isinstance(cls, type):
        raise TypeError(f"cls must be a class, got {cls!r}")
    _declared.add(cls, axes)
    return cls


def role(leaf: Leaf, ndim: int, beside: set[str]) -> roles.ParameterRole:
    """Return the role of an array that has `ndim` axes without those of stacks.

    `beside` are the names at the place of the module that owns it: query, key, value and out of an attention layer.
    """
    if OPTIMIZER in leaf.components:
        return roles.BUFFER
    leaf_role = _of_class(leaf, ndim) or _of_name(leaf, ndim, beside)
    if leaf.is_state and leaf_role.kind != "buffer":
        return roles.BUFFER
    module = leaf.components[-2] if len(leaf.components) > 1 else ""
    if leaf_role.kind == "kernel" and _is_recurrent(module, beside):
        return leaf_role._replace(kind="recurrent")
    return leaf_role


def is_statistic(leaf: Leaf) -> bool:
    """Return whether an array holds statistics of data, or the state of an optimizer: no rule may draw it."""
    of_batches = leaf.kind == "BatchStat" or BATCHES in leaf.components
    return OPTIMIZER in leaf.components or (of_batches and not leaf.components[-1].endswith(DIRECTIONS))


def _is_recurrent(module: str, beside: set[str]) -> bool:
    """Return whether a cell multiplies its state by the module's kernel: hi beside ii, dense_h beside dense_i."""
    if module == "dense_h":
        return "dense_i" in beside
    gate = f"i{module[1:]}"
    return module.startswith("h") and bool({gate, f"{gate}_"} & beside)  # `if_`: an attribute cannot be called `if`


def _of_class(leaf: Leaf, ndim: int) -> roles.ParameterRole | None:
    """Return the role that the class of the owner states."""
    if leaf.owner is None:
        return None
    attributes = getattr(leaf.owner, "__dict__", {})
    class_role = equinox_roles(leaf.owner, ndim, leaf.components[-1])
    if "flax" in sys.modules:
        from .flax import flax_roles

        class_role = class_role or flax_roles(leaf.owner, leaf.around)
    names = (name for name in attributes if not name.startswith("_"))  # Flax has private attributes
    declared = _declared.roles(type(leaf.owner), leaf.owner, class_role, attributes.__contains__, names)
    return declared.get(leaf.components[-1])


def _of_name(leaf: Leaf, ndim: int, beside: set[str]) -> roles.ParameterRole:
    """Return the role that Flax's names state, of linen's variables and of an nnx state."""
    *around, name = leaf.components
    module = around[-1] if around else ""
    if name in STATISTICS and (BATCHES in around or leaf.kind == "BatchStat"):
        return roles.BUFFER._replace(default=STATISTICS[name])
    if leaf.is_state or BATCHES in around:
        return roles.BUFFER
    if name == "kernel":
        return roles.ParameterRole(_kernel(module, ndim, beside), "kernel")
    named_role = (LORA if leaf.kind == "LoRAParam" else NAMED).get(name, roles.UNKNOWN)
    return named_role if named_role.axes is None or ndim == len(named_role.axes) else named_role._replace(axes=None)


def _kernel(module: str, ndim: int, beside: set[str]) -> str | None:
    """Return the axes of a kernel: of a dense layer, an attention, or a layer with "conv" in its name."""
    if module in GATED <= beside:
        return None  # it may hold a matrix for each gate
    if ndim == 2:
        return "IO"
    if ndim == 3 and module in ATTENTION <= beside:
        return "IIO" if module == "out" else "IOO"
    if 3 <= ndim <= 5 and re.search("conv", module, re.IGNORECASE):
        return roles.field(ndim - 2) + "IO"
    return None

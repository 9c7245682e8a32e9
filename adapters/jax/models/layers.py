"""Conventions: what the leaves of a tree mean, by the class that owns them or by the names that Flax gives."""

import re
import sys
from typing import TypeVar

from initlib import ones, zeros
from initlib._public import public
from initlib.adapters.common.roles import Declarations, ParameterRole

from .tensors import Leaf

Class = TypeVar("Class", bound=type)

UNKNOWN = ParameterRole(None, "other")
BUFFER = ParameterRole(None, "buffer")
NAMED = {
    "bias": ParameterRole(None, "bias"),
    "scale": ParameterRole(None, "scale"),
    "embedding": ParameterRole("IO", "table"),
}
STATISTICS = {"mean": zeros, "var": ones}
ATTENTION = {"query", "key", "value", "out"}
GATED = {"dense_i", "dense_h"}
BATCHES = "batch_stats"  # linen's collection of statistics, also in a TrainState of one's own
OPTIMIZER = "opt_state"  # where Flax's TrainState and nnx.Optimizer keep what follows the weights
DIRECTIONS = ("/u", "'u')")  # how the names of SpectralNorm's estimates end, in linen and nnx: a rule may draw them
FIELD = "DHW"

_declared = Declarations()


@public("initlib.adapters.jax")
def declare(cls: Class, /, **axes: str) -> Class:
    """Say what the axes of a module's parameters mean, for all plans from now on, and return the class.

    >>> class Experts:
    ...     def __init__(self, up):
    ...         self.up = up
    >>> declare(Experts, up="BIO") is Experts
    True

    The class is that of a node in the tree whose leaves are attributes: a module of `flax.nnx` or Equinox, a dataclass.
    A module may say so itself, by an attribute of its class or of its own: `initlib_axes = {"up": "BIO"}`. Modules of
    Flax linen are not in their trees: say it by `axes={"*.up": "BIO"}`.
    Raises TypeError for what is no class; ValueError for axes that are none.
    """
    if not isinstance(cls, type):
        raise TypeError(f"cls must be a class, got {cls!r}")
    _declared.add(cls, axes)
    return cls


def meaning(leaf: Leaf, ndim: int, beside: set[str]) -> ParameterRole:
    """What a leaf means, of that many axes where the stacks around it are undone.

    `beside` are the names at the place of the module that owns it: query, key, value and out of an attention.
    """
    if OPTIMIZER in leaf.components:
        return BUFFER
    found = _owned(leaf) or _named(leaf, ndim, beside)
    module = leaf.components[-2] if len(leaf.components) > 1 else ""
    if found.kind == "kernel" and _is_recurrent(module, beside):
        return found._replace(kind="recurrent")
    return found


def is_statistic(leaf: Leaf) -> bool:
    """Whether it is of the data or the training: what no rule may draw."""
    of_batches = leaf.kind == "BatchStat" or BATCHES in leaf.components
    return OPTIMIZER in leaf.components or (of_batches and not leaf.components[-1].endswith(DIRECTIONS))


def _is_recurrent(module: str, beside: set[str]) -> bool:
    """Whether it is what a cell applies to its state: hi beside ii, dense_h beside dense_i."""
    if module == "dense_h":
        return "dense_i" in beside
    gate = f"i{module[1:]}"
    return module.startswith("h") and bool({gate, f"{gate}_"} & beside)  # `if_`: an attribute cannot be called `if`


def _owned(leaf: Leaf) -> ParameterRole | None:
    """What the class of the module says that holds it as an attribute."""
    if leaf.owner is None:
        return None
    cls, held = type(leaf.owner), getattr(leaf.owner, "__dict__", {})
    known: dict[str, ParameterRole] = {}
    if "flax" in sys.modules:
        from .flax import flax_meanings

        known = flax_meanings(leaf.owner, leaf.around)
    return _declared.meanings(cls, leaf.owner, known, held.__contains__, held).get(leaf.components[-1])


def _named(leaf: Leaf, ndim: int, beside: set[str]) -> ParameterRole:
    """What the names say: Flax's own, of linen's variables and of an nnx state."""
    *around, name = leaf.components
    module = around[-1] if around else ""
    if name in STATISTICS and (BATCHES in around or leaf.kind == "BatchStat"):
        return ParameterRole(None, "buffer", STATISTICS[name])
    if leaf.is_state or BATCHES in around:
        return BUFFER
    if name == "kernel":
        return ParameterRole(_kernel(module, ndim, beside), "kernel")
    known = NAMED.get(name, UNKNOWN)
    return known if known.axes is None or ndim == len(known.axes) else known._replace(axes=None)


def _kernel(module: str, ndim: int, beside: set[str]) -> str | None:
    """The axes of a kernel: of a dense layer, of an attention, of a layer whose name says that it is a convolution."""
    if module in GATED <= beside:
        return None  # it may hold a matrix for each gate
    if ndim == 2:
        return "IO"
    if ndim == 3 and module in ATTENTION <= beside:
        return "IIO" if module == "out" else "IOO"
    if 3 <= ndim <= 5 and re.search("conv", module, re.IGNORECASE):
        return FIELD[2 - ndim :] + "IO"
    return None

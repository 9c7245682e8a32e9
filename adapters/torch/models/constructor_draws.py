"""Draws of constructors: which parameters a class draws, and from which distribution, as its own code states."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from torch import nn

from initlib import zeros
from initlib.adapters.common.roles import UNKNOWN, ParameterRole
from initlib.axes import fans
from initlib.recipes.pytorch import constructor_distribution

from .known_classes import known_class
from .layers import own_class, roles, torch_base

Shapes = tuple[tuple[str, tuple[int, ...]], ...]  # of the parameters of one module, by attribute


class ConstructorDraw(NamedTuple):
    """Facts about the draw of one parameter by the constructor of its class."""

    draws: bool | None = None  # None: an unknown class
    bound: float | None = None  # of the uniform distribution of a bias
    draws_like: str | None = None  # the class of `torch.nn` whose `reset_parameters` draws it


class DrawFacts(NamedTuple):
    """Facts that determine how a constructor draws a parameter. Layers of a model share them."""

    cls: type
    mode: str  # of a recurrent module, such as LSTM
    attribute: str
    role: ParameterRole
    shapes: Shapes
    bounding_axes: str | None  # the axes of the weight that bounds the bias, in a class of another library


def draw_facts(module: nn.Module, attribute: str, role: ParameterRole, shapes: Shapes) -> DrawFacts:
    """Return the facts that determine how the constructor of the module's class draws a parameter."""
    cls = own_class(module)
    mode = vars(module).get("mode", "") if issubclass(cls, nn.RNNBase) else ""
    bounding = _bounding(cls)
    axes = roles(module).get(bounding, UNKNOWN).axes if bounding is not None else None
    return DrawFacts(cls, mode, attribute, role, shapes, axes)


@lru_cache(maxsize=1024)
def _bounding(cls: type) -> str | None:
    """Return the name of the weight whose fans bound the bias of a class of another library, if there is one."""
    known = None if torch_base(cls) is not None else known_class(cls)
    return None if known is None else known.bias_of


@lru_cache(maxsize=1024)
def constructor_draw(facts: DrawFacts) -> ConstructorDraw:
    """Return whether and how a constructor draws a parameter."""
    cls, mode, attribute, role, shapes, bounding_axes = facts
    if torch_base(cls) is not None:
        return ConstructorDraw() if role is UNKNOWN else _of_torch(cls, mode, attribute, role, dict(shapes))
    known = known_class(cls)
    if known is None or (attribute not in known.axes and attribute != "bias"):
        return ConstructorDraw()
    if attribute in known.axes:
        return ConstructorDraw(draws=True)
    shape = dict(shapes).get(known.bias_of or "")
    is_bounded = shape is not None and bounding_axes is not None
    bound = 1 / math.sqrt(max(1, fans(shape, bounding_axes)[0])) if is_bounded else None
    return ConstructorDraw(known.bias_of is not None, bound)


def _of_torch(
    cls: type, mode: str, attribute: str, role: ParameterRole, shapes: Mapping[str, tuple[int, ...]]
) -> ConstructorDraw:
    base = next(each for each in cls.__mro__ if each.__module__.startswith("torch.nn."))
    name = mode.partition("_")[0] if base is nn.RNNBase else base.__name__
    distribution = constructor_distribution(name, attribute, shapes) if attribute in shapes else None
    if distribution is None:
        return ConstructorDraw(role.kind in ("kernel", "recurrent", "table"))
    drawn = distribution != zeros
    bound = distribution.bounds(shapes[attribute])[1] if drawn and role.kind == "bias" else None
    inherits = getattr(cls, "reset_parameters", None) is getattr(base, "reset_parameters", None)
    return ConstructorDraw(drawn, bound, name if inherits else None)

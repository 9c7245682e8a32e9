"""Draws of constructors: the parameters that a class draws, and their distributions, as its code states."""

import math
from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

from torch import nn

from initlib import zeros
from initlib.adapters.common.roles import UNKNOWN, ParameterRole
from initlib.axes import fans
from initlib.recipes.pytorch import constructor_distribution

from .known_classes import known_class
from .layers import own_class, roles, torch_base

Shapes = tuple[tuple[str, tuple[int, ...]], ...]  # the attribute and the shape of each parameter of a module


class ConstructorDraw(NamedTuple):
    """Facts about the draw of one parameter by the constructor of its class."""

    draws: bool | None = None  # None: an unknown class
    bound: float | None = None  # of the uniform distribution of a bias
    draws_like: str | None = None  # the class of `torch.nn` whose `reset_parameters` draws the parameter


# Facts that determine how a constructor draws a parameter: the class, the attribute, the role, the shapes of the
# module's parameters, and one further fact. A plain tuple, because a named tuple takes longer to make.
DrawFacts = tuple[type, str, ParameterRole, Shapes, str | None]


def draw_facts(module: nn.Module, attribute: str, role: ParameterRole, shapes: Shapes) -> DrawFacts:
    """Return the facts that determine how the constructor of the module's class draws a parameter."""
    cls = own_class(module)
    further = _further_fact(cls)
    return cls, attribute, role, shapes, None if further is None else further(module)


@lru_cache(maxsize=1024)
def _further_fact(cls: type) -> Callable[[Any], str | None] | None:
    """Return a function that reads the further fact about a module of a class; None for most classes.

    The fact is the mode of a recurrent module, or the axes of the weight whose fans bound a bias.
    """
    known = None if torch_base(cls) is not None else known_class(cls)
    if known is not None and known.bias_of is not None:
        bounding = known.bias_of
        return lambda module: roles(module).get(bounding, UNKNOWN).axes
    return attrgetter("mode") if issubclass(cls, nn.RNNBase) else None


@lru_cache(maxsize=1024)
def constructor_draw(facts: DrawFacts) -> ConstructorDraw:
    """Return whether and how a constructor draws a parameter."""
    cls, attribute, role, items, further = facts
    shapes = dict(items)
    if torch_base(cls) is not None:
        return ConstructorDraw() if role is UNKNOWN else _of_torch(cls, further or "", attribute, role, shapes)
    known = known_class(cls)
    if known is None or (attribute not in known.axes and attribute != "bias"):
        return ConstructorDraw()
    if attribute in known.axes:
        return ConstructorDraw(draws=True)
    shape = shapes.get(known.bias_of or "")
    bound = None if shape is None or further is None else 1 / math.sqrt(max(1, fans(shape, further)[0]))
    return ConstructorDraw(known.bias_of is not None, bound)


def _of_torch(
    cls: type, mode: str, attribute: str, role: ParameterRole, shapes: dict[str, tuple[int, ...]]
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

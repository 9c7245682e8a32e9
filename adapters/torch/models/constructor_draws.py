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
from .layers import is_torch, own_class, roles

Shapes = Mapping[str, tuple[int, ...]]  # of the parameters of one module, by attribute


class ConstructorDraw(NamedTuple):
    """Facts about the draw of one parameter by the constructor of its class."""

    draws: bool | None = None  # None: an unknown class
    bound: float | None = None  # of the uniform distribution of a bias
    draws_like: str | None = None  # the class of `torch.nn` whose `reset_parameters` draws it


def constructor_draw(module: nn.Module, attribute: str, role: ParameterRole, shapes: Shapes) -> ConstructorDraw:
    """Return whether and how the constructor of the module's class draws a parameter."""
    if is_torch(module):
        if role is UNKNOWN:
            return ConstructorDraw()
        mode = str(getattr(module, "mode", "")).partition("_")[0] if isinstance(module, nn.RNNBase) else ""
        return _of_torch(own_class(module), mode, attribute, role, tuple(shapes.items()))
    known = known_class(own_class(module))
    if known is None or (attribute not in known.axes and attribute != "bias"):
        return ConstructorDraw()
    if attribute in known.axes:
        return ConstructorDraw(draws=True)
    shape, axes = shapes.get(known.bias_of or ""), roles(module).get(known.bias_of or "", UNKNOWN).axes
    bound = None if shape is None or axes is None else 1 / math.sqrt(max(1, fans(shape, axes)[0]))
    return ConstructorDraw(known.bias_of is not None, bound)


@lru_cache(maxsize=1024)
def _of_torch(
    cls: type, mode: str, attribute: str, role: ParameterRole, items: tuple[tuple[str, tuple[int, ...]], ...]
) -> ConstructorDraw:
    shapes = dict(items)
    base = next(each for each in cls.__mro__ if each.__module__.startswith("torch.nn."))
    name = mode if base is nn.RNNBase else base.__name__
    distribution = constructor_distribution(name, attribute, shapes) if attribute in shapes else None
    if distribution is None:
        return ConstructorDraw(role.kind in ("kernel", "recurrent", "table"))
    drawn = distribution != zeros
    bound = distribution.bounds(shapes[attribute])[1] if drawn and role.kind == "bias" else None
    inherits = getattr(cls, "reset_parameters", None) is getattr(base, "reset_parameters", None)
    return ConstructorDraw(drawn, bound, name if inherits else None)

"""Rules: what fills each parameter, in order of precedence."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...schemes._constant import ones, zeros
from ...schemes._normal import normal
from ...schemes._orthogonal import orthogonal
from ...schemes.initializer import Initializer
from ..checks import first_needing_axes
from ..packing.logical_weights import members
from ..parameter import Parameter
from .hints import nearest
from .parts import NESTED, Parts, Stack
from .patterns import Ordered
from .values import Fill, Rule, Values, as_fill, as_rule, keep

# What modules have by default that do not say it. These kinds keep it whatever their number of axes.
_OWN: dict[str, Fill] = {"bias": zeros, "scale": ones, "buffer": keep}
# What others get where the default goes by fans or matrices, which are those of kernels.
_INSTEAD: dict[str, Fill] = {"table": normal(std=0.02), "recurrent": orthogonal()}


class Rules:
    """What fills a parameter: the first rule that matches, else the module's own default, else the default."""

    def __init__(self, rules: Any, default: Any) -> None:
        self.rules = Ordered(rules, "rules", as_rule)
        self.default: Rule | None = None if default is None else as_rule(default, "default")

    def fill(self, parameter: Parameter, depth: int = 0) -> tuple[Fill, tuple[str, ...]]:
        """What fills the parameter, and notes on it. Raises ValueError or TypeError."""
        said = self.rules.first(parameter)
        if said is not None:
            return self.made(said, parameter, depth), ()
        if parameter.needs is not None:
            raise self._no_rule(parameter, parameter.needs)
        own = _OWN.get(parameter.kind) if parameter.default is None else parameter.default
        if own is None:
            return self._default(parameter, depth), ()
        if len(parameter.shape) < 2 or parameter.kind in _OWN or not _is_zeros(own):
            return self.made(own, parameter, depth), ()
        # Fresh memory looks like weights that are zeros by design: nobody keeps those in silence.
        return self._default(parameter, depth), ("zeros as built",)

    def _default(self, parameter: Parameter, depth: int) -> Fill:
        if self.default is None:
            raise self._no_rule(parameter, "there is no default")
        if isinstance(self.default, Initializer) and first_needing_axes(self.default):
            if parameter.kind in _INSTEAD:
                return _INSTEAD[parameter.kind]
            if len(parameter.shape) < 2 and parameter.axes is None:
                raise self._no_rule(parameter, f"the default, {first_needing_axes(self.default)}, is for kernels")
        return self.made(self.default, parameter, depth)

    def _no_rule(self, parameter: Parameter, why: str) -> ValueError:
        near = nearest(parameter.name, [pattern.text for pattern in self.rules.patterns], "patterns")
        return ValueError(f"no rule matches it, and {why}{near}")

    def made(self, value: Rule, parameter: Parameter, depth: int = 0) -> Fill:
        """What a rule's value is for the parameter: functions are called, its own and those of parts."""
        if callable(value) and not isinstance(value, Initializer):
            value = as_fill(_called(value, parameter), "what the rule's function returns")
        if not isinstance(value, Parts) or _is_made(value):
            return value
        if depth == NESTED:
            raise ValueError(f"parts may lie at most {NESTED} deep in one another; a rule may be for parts of its own")
        fills = []
        for part in members(value, parameter.name, parameter.shape, parameter.axes):
            alone = Parameter(part.name, part.shape, parameter.dtype, part.axes, parameter.kind, parameter.owner)
            if part.filling is None:
                fills.append(self.fill(alone, depth + 1)[0])
            else:
                fills.append(self.made(part.filling, alone, depth + 1))
        if all(fill is keep for fill in fills):
            return keep
        alike = isinstance(value, Stack) and fills.count(fills[0]) == len(fills)
        return replace(value, fillings=tuple(fills[:1] if alike else fills))


def _called(function: Callable[[Parameter], Fill], parameter: Parameter) -> Any:
    try:
        return function(parameter)
    except Exception as error:
        raise ValueError(f"the rule's function raised {type(error).__name__}: {error}") from error


def _is_made(value: Any) -> bool:
    """Whether nothing of it has to be called or looked up."""
    if isinstance(value, Parts):
        return all(map(_is_made, value.fillings))
    return value is not None and (isinstance(value, Initializer) or not callable(value))


def _is_zeros(fill: Fill) -> bool:
    return fill == zeros or (isinstance(fill, Values) and not fill.array.any())

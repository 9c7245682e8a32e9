"""Rules: from patterns and what they say to what fills each parameter, in order of precedence."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..schemes.initializer import Initializer
from ..schemes.orthogonality import orthogonal
from ..schemes.variance import normal, ones, zeros
from .checks import needs_axes
from .fillings import NESTED, Filling, Rule, Split, Stack, as_filling, as_rule, keep
from .parameter import Parameter
from .patterns import Ordered
from .pieces import members

__all__ = ["NoRule", "Rules"]

# What a default that goes by fans, which are those of kernels, leaves to others.
_OTHERS = {"table": normal(std=0.02), "recurrent": orthogonal()}
# What a module's own default is where it does not say one.
_OWN: dict[str, Filling] = {"bias": zeros, "scale": ones, "buffer": keep}


class NoRule(Exception):
    """Nothing says what fills a parameter."""


class Rules:
    """What fills each parameter: the first rule that matches, else the module's own default, else the default."""

    def __init__(self, rules: Any, default: Any) -> None:
        self.rules = Ordered(rules, "rules", as_rule)
        self.default: Rule | None = None if default is None else as_rule(default, "default")

    def filling(self, parameter: Parameter, depth: int = 0) -> tuple[Filling, tuple[str, ...]]:
        """What fills it, and notes. Raises ValueError or TypeError, to be told of this parameter."""
        said = self.rules.first(parameter)
        if said is not None:
            return self.made(said, parameter, depth), ()
        return self._own(parameter, depth)

    def _own(self, parameter: Parameter, depth: int) -> tuple[Filling, tuple[str, ...]]:
        """The module's own default, else the default."""
        own = _OWN.get(parameter.kind) if parameter.default is None else parameter.default
        notes: tuple[str, ...] = ()
        if own is not None:
            # Fresh memory looks like a weight that is zeros by design: nobody keeps it in silence.
            if own != zeros or len(parameter.shape) < 2 or parameter.kind in _OWN:
                return self.made(own, parameter, depth), ()
            notes = ("zeros as built",)
        if self.default is None:
            raise NoRule("no rule matches it" + (", and it is all zeros as built" if notes else ""))
        if isinstance(self.default, Initializer) and needs_axes(self.default):
            if parameter.kind in _OTHERS:
                return _OTHERS[parameter.kind], notes
            if len(parameter.shape) < 2 and parameter.axes is None:
                raise NoRule(f"no rule matches it, and the default {self.default!r} is for weights of known axes")
        return self.made(self.default, parameter, depth), notes

    def made(self, value: Rule, parameter: Parameter, depth: int = 0) -> Filling:
        """The filling that a rule's value is for the parameter: functions are called, for parts too."""
        if depth > NESTED:
            raise ValueError(f"parts lie more than {NESTED} deep in one another: a rule makes parts of its own parts")
        if callable(value) and not isinstance(value, Initializer):
            value = as_filling(_called(value, parameter), "what the rule's function returns")
        if not isinstance(value, (Split, Stack)) or _is_made(value):
            return value
        found = []
        for part in members(value, parameter.name, parameter.shape, parameter.axes):
            alone = replace(
                parameter, name=part.name, shape=part.shape, axes=part.axes, default=None, tied=(), padding=None
            )
            if part.filling is None:
                found.append(self.filling(alone, depth + 1)[0])
            else:
                found.append(self.made(part.filling, alone, depth + 1))
        if all(filling is keep for filling in found):
            return keep
        alike = isinstance(value, Stack) and all(filling == found[0] for filling in found)
        return replace(value, fillings=tuple(found[:1] if alike else found))


def _called(function: Callable[[Parameter], Filling], parameter: Parameter) -> Any:
    try:
        return function(parameter)
    except Exception as error:
        raise ValueError(f"the rule's function raised {type(error).__name__}: {error}") from error


def _is_made(filling: Any) -> bool:
    """Whether nothing is left to be called or looked up in it."""
    if isinstance(filling, (Split, Stack)):
        return all(map(_is_made, filling.fillings))
    return filling is not None and (isinstance(filling, Initializer) or not callable(filling))

"""Resolver of rules: the fill of each parameter, in order of precedence."""

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from ...schemes._constant import ones, zeros
from ...schemes._normal import normal
from ...schemes._orthogonal import orthogonal
from ...schemes.initializer import Initializer
from ..checks import first_needing_axes
from ..fills.loaded import Loaded
from ..fills.opened_sources import with_loaded
from ..fills.parts import NESTED, Parts
from ..fills.values import Fill, Keep, Rule, Values, as_fill, as_rule, keep
from ..packing.logical_weights import Member, members
from ..parameter import Parameter
from ..text.describe import described
from ..text.errors import PATTERN, RuleNeededError
from ..text.nearest import nearest
from .constructor_value import ConstructorValue, decide
from .hints import advice_for_vector
from .patterns import Ordered, ParsedPattern, PatternValue, starred
from .usual_names import is_bias_name, is_table_name

# The fills of kinds whose module states no default, for any number of axes.
_OWN: dict[str, Fill] = {"bias": zeros, "scale": ones, "buffer": keep}
# The fills of kinds in place of a default that depends on fans or on matrices.
_INSTEAD: dict[str, Fill] = {"table": normal(std=0.02), "recurrent": orthogonal()}

_DRAWABLE = re.compile("b?float|complex")


class RuleResolver:
    """Fills of parameters: from the first rule that matches, else from the constructor value, else the default."""

    def __init__(
        self, rules: Ordered, default: Any, unmatched: str = "default", parameters: Sequence[Parameter] = ()
    ) -> None:
        self.rules = rules
        self.default: Rule | None = None if default is None else as_rule(default, "default")
        self.keeps_unmatched = unmatched == "keep"
        self.parameters = parameters  # of the whole model, for advice
        self.may_be_fresh: list[str] = []  # parameters of zeros that may be fresh memory, and get the default
        self._known: dict[Hashable, tuple[Fill, tuple[str, ...]]] = {}  # of repeated layers, by rule and facts

    def fill(self, parameter: Parameter) -> tuple[Fill, tuple[str, ...]]:
        """Return the fill of the parameter, and notes. Raises ValueError or TypeError."""
        rule = self.rules.match(parameter)
        start, value = parameter.default, parameter.constructor
        facts = parameter.form, id(rule), id(start), id(value), parameter.needs
        known = self._known.get(facts)
        if known is not None:
            return known
        fresh = len(self.may_be_fresh)
        made = self._fill(parameter, rule)
        decided = self.default if rule is None else rule.value
        is_plain = all(each is None or isinstance(each, (Initializer, Keep)) for each in (decided, start))
        if is_plain and (value is None or value.read is None) and len(self.may_be_fresh) == fresh:
            self._known[facts] = made  # neither the name nor the memory has decided
        return made

    def _fill(self, parameter: Parameter, rule: PatternValue | None, depth: int = 0) -> tuple[Fill, tuple[str, ...]]:
        if rule is not None:
            fill, notes = self.made(rule.value, parameter, depth, rule.pattern)
            return with_loaded(fill, partial(_starred, pattern=rule.pattern, name=parameter.name)), notes
        if self.keeps_unmatched:
            return keep, () if parameter.kind == "buffer" else ("no rule matches",)
        if parameter.needs is not None:
            raise self._no_rule(parameter, parameter.needs)
        if not _DRAWABLE.match(parameter.dtype):
            return keep, ()
        if parameter.constructor is not None:
            return self._by_constructor(parameter, parameter.constructor, depth)
        own = _OWN.get(parameter.kind) if parameter.default is None else parameter.default
        if own is None:
            return self._default(parameter, depth)
        if len(parameter.shape) < 2 or parameter.kind in _OWN or not _is_zeros(own):
            return self.made(own, parameter, depth)
        # Fresh memory looks like zeros by design, so zeros are not kept without a warning.
        fill, notes = self._default(parameter, depth)
        return fill, ("zeros as constructed", *notes)

    def _by_constructor(
        self, parameter: Parameter, value: ConstructorValue, depth: int
    ) -> tuple[Fill, tuple[str, ...]]:
        if isinstance(parameter.default, Parts):
            return self.made(parameter.default, parameter, depth)
        needs_axes = isinstance(self.default, Initializer) and first_needing_axes(self.default) is not None
        try:
            decision = decide(parameter, value, default_needs_axes=needs_axes)
        except RuleNeededError as error:
            raise RuleNeededError(f"no rule matches, and {error.reason}", error.advice) from None
        if decision.fill is not None:
            return decision.fill, decision.notes
        if decision.may_be_fresh:
            self.may_be_fresh.append(parameter.name)
        if parameter.default is None or _is_zeros(parameter.default):
            fill, notes = self._default(parameter, depth)
        else:
            fill, notes = self.made(parameter.default, parameter, depth)
        return fill, (*decision.notes, *notes)

    def _default(self, parameter: Parameter, depth: int) -> tuple[Fill, tuple[str, ...]]:
        if self.default is None:
            example = _example(parameter)
            other = "" if parameter.is_vector else f", or pass default={example}"
            raise self._no_rule(parameter, "there is no default", f"Add the rule {{{PATTERN}: {example}}}{other}")
        if isinstance(self.default, Initializer) and first_needing_axes(self.default):
            if parameter.kind in _INSTEAD:
                return _INSTEAD[parameter.kind], ()
            if parameter.is_vector:
                why = f"the default, {described(self.default)}, is for kernels"
                raise self._no_rule(parameter, why, f"Add the rule {{{PATTERN}: {_example(parameter)}}}")
        return self.made(self.default, parameter, depth)

    def _no_rule(self, parameter: Parameter, why: str, advice: str = "") -> ValueError:
        near = nearest(parameter.name, [rule.pattern.text for rule in self.rules.rules], "patterns")
        reason = f"no rule matches, and {why}{near}"
        return RuleNeededError(reason, advice) if advice else ValueError(reason)

    def made(
        self, value: Rule, parameter: Parameter, depth: int = 0, pattern: ParsedPattern | None = None
    ) -> tuple[Fill, tuple[str, ...]]:
        """Return the fill of the parameter from the value of a rule, and notes. Functions in the value are called.

        `pattern` is the pattern of the rule.
        """
        if callable(value) and not isinstance(value, Initializer):
            value = as_fill(_called(value, parameter), "the result of the rule's function")
        if not isinstance(value, Parts):
            if pattern is not None and parameter.is_vector:
                self._check_vector(value, pattern, parameter)
            is_draw = pattern is not None and isinstance(value, Initializer)
            return value, _notes_of_mean(value) if is_draw else ()
        if _is_made(value) and (pattern is None or parameter.axes is not None):
            return value, ()
        if depth == NESTED:
            raise ValueError(f"parts must be nested at most {NESTED} deep, got a rule that matches its own parts")
        fills: list[Fill] = []
        notes: dict[str, None] = {}
        for part in members(value, parameter.name, parameter.shape, parameter.axes):
            alone = _part(parameter, part)
            if part.filling is None:
                fill, more = self._fill(alone, self.rules.match(alone), depth + 1)
            else:
                fill, more = self.made(part.filling, alone, depth + 1, pattern)
            fills.append(fill)
            notes.update(dict.fromkeys(more))
        if all(fill is keep for fill in fills):
            return keep, tuple(notes)
        return value.with_fillings(fills), tuple(notes)

    def _check_vector(self, value: Fill, pattern: ParsedPattern, parameter: Parameter) -> None:
        """Raise RuleNeededError for a rule that draws a bias or a scale by fans, as `{"*": he_normal}` does."""
        if isinstance(value, Initializer) and first_needing_axes(value):
            name = described(value)
            kernel = next((each for each in self.parameters if each.kind == "kernel" and pattern.matches(each)), None)
            why = f"{name}, which needs fans, and a vector has no inputs and outputs"
            advice = advice_for_vector(pattern, name, parameter, kernel)
            raise RuleNeededError(f"rule {pattern.shown} draws a vector by {why}", advice)


def _starred(fill: Loaded, pattern: ParsedPattern, name: str) -> Loaded:
    """Return the fill with the text of each `*` of the rule's pattern in its name. Raises ValueError."""
    return fill if fill.name is None else replace(fill, name=starred(fill.name, pattern, name))


def _part(parameter: Parameter, part: Member) -> Parameter:
    """Return a part as a parameter, as if the part were stored alone."""
    value = parameter.constructor
    return Parameter(
        part.name,
        part.shape,
        parameter.dtype,
        part.axes,
        parameter.kind,
        parameter.owner,
        constructor=None if value is None else value.part(part.shape, part.boxes),
    )


def _example(parameter: Parameter) -> str:
    """Return a usual initializer of the parameter, as code."""
    if parameter.is_vector and not is_table_name(parameter.name):
        return "zeros" if parameter.kind == "bias" or is_bias_name(parameter.name) else "ones"
    return "he_normal" if parameter.kind == "kernel" else "normal(std=0.02)"


def _called(function: Callable[[Parameter], Fill], parameter: Parameter) -> Any:
    try:
        return function(parameter)
    except Exception as error:
        if str(function.__module__).startswith("initlib.recipes") and isinstance(error, ValueError):
            raise
        raise ValueError(f"the rule's function raised {type(error).__name__}: {error}") from error


def _is_made(value: Any) -> bool:
    """Return whether a value is a complete fill: no function to call, and no part to look up."""
    if isinstance(value, Parts):
        return all(map(_is_made, value.fillings))
    return value is not None and (isinstance(value, Initializer) or not callable(value))


@lru_cache(maxsize=1024)
def _notes_of_mean(initializer: Initializer) -> tuple[str, ...]:
    """Return a note on a normal distribution that has a mean and the default std, as normal(0.02) has."""
    if initializer.factory != "normal":
        return ()
    mean, std = initializer.get_config().values()
    return (f"mean {mean:g}, std 1; for std {mean:g} write normal(std={mean:g})",) if mean and std == 1 else ()


def _is_zeros(fill: Fill) -> bool:
    return fill == zeros or (isinstance(fill, Values) and not fill.array.any())

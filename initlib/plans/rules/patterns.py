"""Patterns: conditions on the names, kinds and owners of parameters."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ...key import Key
from ..parameter import Parameter
from ..text.describe import advice_for_text, is_path
from .glob import Glob, glob, with_stars
from .layer_count import LayerCount


class Purpose(NamedTuple):
    """Purpose of a recipe's pattern: an optional pattern is for parameters that a model may lack."""

    is_optional: bool = False
    missing: str = ""  # the error where the pattern matches nothing
    advice: str = ""
    for_kernels: str = ""  # the argument of a recipe that takes the pattern, if the pattern must match a kernel
    layer_count: LayerCount | None = None


UNSTATED = Purpose()


class RecipeRules(dict[Any, Any]):
    """Rules that a recipe has made from all parameters."""


class RecipePattern(str):
    """A pattern of a recipe, with its purpose. The pattern compares equal to its text."""

    expression: str | re.Pattern[str]
    purpose: Purpose


@dataclass(frozen=True)
class ParsedPattern:
    """A condition on parameters: the full name matches, and the kind or the owner equals that of the pattern."""

    text: str
    name: re.Pattern[str] | Glob
    of: str | None = None  # a kind or an owner
    purpose: Purpose = UNSTATED

    @property
    def shown(self) -> str:
        """Return the pattern as code."""
        return self.text if self.text.startswith("re.compile(") else repr(self.text)

    def matches(self, parameter: Parameter) -> bool:
        """Return whether the parameter meets the condition."""
        return self.of in (None, parameter.kind, parameter.owner) and self.matches_name(parameter.name)

    def matches_name(self, name: str) -> bool:
        """Return whether the full name of a parameter matches."""
        return self.name.matches(name) if isinstance(self.name, Glob) else self.name.fullmatch(name) is not None

    def may_match(self, component: str, kind: str, owner: str | None) -> bool:
        """Return False if the pattern matches no parameter of that kind and owner whose name ends in a component."""
        if self.of not in (None, kind, owner):
            return False
        ending = self.name.ending if isinstance(self.name, Glob) else ""
        return component.endswith(ending) or ending.endswith(f".{component}")


def expression_code(expression: str) -> str:
    r"""Return a regular expression as code, with single backslashes.

    >>> print(expression_code(r".*\.weight"))
    re.compile(r'.*\.weight')
    """
    text = repr(expression)
    return f"re.compile(r{text.replace(2 * chr(92), chr(92))})" if "\\" in expression else f"re.compile({text})"


def plain_expression(expression: str) -> str:
    r"""Return a regular expression of a recipe as plain text for messages, with a `*` in place of its start.

    >>> plain_expression(r"(.*\.)?(wo|w2)\.weight")
    '*(wo|w2).weight'
    """
    return expression.replace(r"(.*\.)?", "*").replace("\\", "")


def as_pattern(pattern: Any, argument: str) -> ParsedPattern:
    """Return the argument as a pattern: a glob, then optionally `:kind` or `:Owner`; or a compiled expression."""
    if isinstance(pattern, RecipePattern):
        return replace(as_pattern(pattern.expression, argument), text=str(pattern), purpose=pattern.purpose)
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return ParsedPattern(expression_code(pattern.pattern), pattern)
    if not isinstance(pattern, str):
        hint = ""
        if isinstance(pattern, type):
            of_keras = any(base.__module__.startswith(("keras", "flax")) for base in pattern.__mro__)
            weights = f"*.{'kernel' if of_keras else 'weight'}:{pattern.__name__}"
            hint = f'. Write "{weights}" for the weights of a class, or "*:{pattern.__name__}" for its biases too'
        raise TypeError(
            f"{argument} must have globs or compiled regular expressions as patterns, got {pattern!r}{hint}"
        )
    name, colon, of = pattern.rpartition(":") if ":" in pattern else (pattern, "", "")
    if not name or (colon and not of):
        raise ValueError(f"a pattern of {argument} must be a glob, then optionally :kind or :Owner, got {pattern!r}")
    return ParsedPattern(pattern, glob(name), of or None)


def _allowed(argument: str) -> str:
    """Return the allowed values of an argument with patterns."""
    if argument == "rules":
        return "a mapping from patterns to fills, an initializer, a recipe, or a list of these"
    return "a mapping from patterns, or pairs"


def _advice(given: Any, argument: str) -> str:
    """Return the advice for an argument that is not a mapping."""
    if argument == "axes" and isinstance(given, str):
        return f'. Write axes={{"*": {given!r}}} for all matrices'
    if argument == "rules" and is_path(given) and os.fspath(given).endswith(".json"):
        return f". For a stored plan, pass Plan.load({os.fspath(given)!r})"
    if argument == "rules" and is_path(given):
        return f'. For a checkpoint, write {{"*": loaded({os.fspath(given)!r})}}'
    if argument == "rules" and isinstance(given, (int, Key, np.random.Generator)):
        return f". Pass the seed by name: seed={given!r}"
    return advice_for_text(given) if isinstance(given, str) else ""


class PatternValue(NamedTuple):
    """A pattern and its value."""

    pattern: ParsedPattern
    value: Any
    source: int = 0  # the number of its mapping in a list of mappings


class Unused(NamedTuple):
    """A pattern that is the first match of no parameter."""

    pattern: ParsedPattern
    before: list[ParsedPattern]
    is_shadowed: bool = False  # by wider patterns of earlier mappings, in a list of mappings


class Ordered:
    """Values by pattern, in order: the first pattern that matches counts."""

    def __init__(self, rules: Any, argument: str, check: Callable[[Any, str], Any]) -> None:
        if isinstance(rules, str) or (rules is not None and not isinstance(rules, Iterable)):
            raise TypeError(f"{argument} must be {_allowed(argument)}, got {rules!r}{_advice(rules, argument)}")
        self.rules: list[PatternValue] = []
        self._of_recipes: set[int] = set()  # the numbers of the mappings that recipes have made
        for source, (pattern, value) in _pairs(rules, argument):
            checked = check(value, f"{argument} of {pattern!r}")
            if isinstance(pattern, RecipePattern):
                self._of_recipes.add(source)
            self.rules.append(PatternValue(as_pattern(pattern, argument), checked, source))
        listed = () if isinstance(rules, Mapping) else rules or ()
        self._of_recipes.update(n for n, each in enumerate(listed) if isinstance(each, RecipeRules))
        self._unused = dict.fromkeys(range(len(self.rules)))
        # The rules that may match, by the last component of a name, the kind and the owner.
        self._candidates: dict[tuple[str, str, str | None], list[tuple[int, PatternValue]]] = {}

    def first(self, parameter: Parameter) -> Any:
        """Return the value of the first pattern that matches the parameter; None if no pattern matches."""
        rule = self.match(parameter)
        return None if rule is None else rule.value

    def match(self, parameter: Parameter) -> PatternValue | None:
        """Return the first pattern that matches the parameter, with its value."""
        if not self.rules:
            return None
        name = parameter.name
        group = name.rpartition(".")[2], parameter.kind, parameter.owner
        candidates = self._candidates.get(group)
        if candidates is None:
            numbered = enumerate(self.rules)
            candidates = [(number, rule) for number, rule in numbered if rule.pattern.may_match(*group)]
            self._candidates[group] = candidates
        for number, rule in candidates:
            if rule.pattern.matches_name(name):
                self._unused.pop(number, None)
                return rule
        return None

    def unused(self, parameters: Sequence[Parameter] = ()) -> Iterator[Unused]:
        """Yield each pattern that is the first match of no parameter, and the patterns before it.

        Rules of earlier mappings may replace a rule of a later mapping, as in `[own, recipe]`. In `[recipe, own]`, wide
        patterns of the recipe shadow the narrow patterns of `own`, which are therefore unused.
        """
        for number in self._unused:
            pattern, _, source = self.rules[number]
            if pattern.purpose.is_optional:
                continue
            before = self.rules[:number]
            matched = [parameter for parameter in parameters if pattern.matches(parameter)]
            earlier = [rule for rule in before if any(map(rule.pattern.matches, matched))]
            is_of_later = any(rule.source != source for rule in earlier)
            is_shadowed = is_of_later and self._is_shadowed(self.rules[number], matched, before, parameters)
            is_first = bool(matched) and not earlier  # another problem came before its turn
            if is_shadowed or not (is_of_later or is_first):
                yield Unused(pattern, [rule.pattern for rule in before], is_shadowed)

    def _is_shadowed(
        self,
        rule: PatternValue,
        matched: Sequence[Parameter],
        before: Sequence[PatternValue],
        parameters: Sequence[Parameter],
    ) -> bool:
        """Return whether patterns of earlier mappings that are wider match all parameters of the rule first.

        Patterns of a recipe are never shadowed. An earlier mapping that is not a recipe replaces the rule if the
        mapping of the rule matches all parameters of the wider patterns. An example is
        `[{"head.*": zeros}, {"head.weight": x, "*": y}]`.
        """
        numbers = {next((n for n, each in enumerate(before) if each.pattern.matches(one)), None) for one in matched}
        firsts = [before[number] for number in numbers if number is not None]
        is_first = len(firsts) < len(numbers)  # for a parameter that no earlier pattern matches
        if is_first or rule.source in self._of_recipes or any(first.source == rule.source for first in firsts):
            return False
        names = {each.name for each in matched}
        others = [
            each
            for each in parameters
            if each.name not in names and any(first.pattern.matches(each) for first in firsts)
        ]
        if any(first.source in self._of_recipes for first in firsts):
            return bool(others)
        mapping = [each.pattern for each in self.rules if each.source == rule.source]
        return not all(any(pattern.matches(each) for pattern in mapping) for each in others)


def patterns_of_kind(rules: Any, kind: str) -> list[ParsedPattern]:
    """Return the patterns of rules that end in `:kind`. Functions, which need all parameters, give none."""
    if not isinstance(rules, (Mapping, Sequence)) or isinstance(rules, str):
        return []
    plain = rules if isinstance(rules, Mapping) else [each for each in rules if not callable(each)]
    patterns = (as_pattern(pattern, "rules") for _, (pattern, _) in _pairs(plain, "rules"))
    return [pattern for pattern in patterns if pattern.of == kind]


def _pairs(rules: Any, argument: str) -> Iterator[tuple[int, tuple[Any, Any]]]:
    """Yield the pairs of a mapping, of pairs, or of a list of mappings, with the number of their mapping."""
    for number, each in enumerate(rules.items() if isinstance(rules, Mapping) else rules or ()):
        if isinstance(each, Mapping):
            yield from ((number, pair) for pair in each.items())
        elif isinstance(each, tuple) and len(each) == 2:
            yield 0, each
        else:
            raise TypeError(f"{argument} must be {_allowed(argument)}, got {each!r}")


def starred(new: str, pattern: ParsedPattern, name: str) -> str:
    """Return the name of an old weight, with each `*` replaced as in the rule's pattern. Raises ValueError."""
    if isinstance(pattern.name, Glob) and new.count("*") > pattern.name.groups:
        raise ValueError(f"the name {new!r} must have no more * than the rule's pattern, got {pattern.text!r}")
    try:
        return with_stars(new, pattern.name, name)
    except (re.error, IndexError) as error:
        raise ValueError(f"the name {new!r} must have only groups of the rule's pattern, got {error}") from None

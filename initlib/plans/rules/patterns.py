"""Patterns: conditions on the names, kinds and owners of parameters."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from ..._public import public
from ..parameter import Parameter, check_name
from ..text.describe import advice_for_text
from .layer_count import LayerCount


class GlobMatch(NamedTuple):
    """Texts in place of each `*` of a glob, in a name that matches."""

    stars: tuple[str, ...]

    def groups(self) -> tuple[str, ...]:
        """Return the texts, as `re.Match.groups` does."""
        return self.stars


@dataclass(frozen=True)
class Glob:
    """A compiled glob, with the methods of `re.Pattern` that patterns need. It takes linear time for each `*`."""

    groups: int  # the number of `*`
    reversed_expression: re.Pattern[str]
    ending: str  # the plain text with which every name ends that matches

    def fullmatch(self, name: str) -> GlobMatch | None:
        """Match the whole name; of several ways, the one in which the first `*` is longest, then the second."""
        match = self.reversed_expression.fullmatch(name[::-1])
        return None if match is None else GlobMatch(tuple(text[::-1] for text in reversed(match.groups())))

    def matches(self, name: str) -> bool:
        """Return whether the glob matches the whole name."""
        return self.reversed_expression.fullmatch(name[::-1]) is not None


@lru_cache(maxsize=1024)
def glob(pattern: str) -> Glob:
    """Compile a glob: `*` is any text with any dots, `?` a character, `[ab]` or `[!ab]` one of a set.

    >>> glob("h.*.mlp.w[13]").fullmatch("h.11.mlp.w3").groups()
    ('11',)

    Raises ValueError for a set that is not closed, or cannot be read.
    """
    segments: list[list[str]] = [[]]  # the expressions of single characters, between the `*`
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "*":
            at += len(pattern[at:]) - len(pattern[at:].lstrip("*"))
            segments.append([])
        elif letter == "[":
            inverted = pattern.startswith("!", at)
            end = pattern.find("]", at + inverted + 1)  # a set has at least one character
            if end < 0:
                raise ValueError(f"a pattern must close each bracket, got {pattern!r}")
            characters = re.sub(r"([\\\[\]^&~|])", r"\\\1", pattern[at + inverted : end])
            segments[-1].append(f"[{'^' * inverted}{characters}]")
            at = end + 1
        else:
            segments[-1].append("." if letter == "?" else re.escape(letter))
    # From the last character to the first, the shortest text for each `*` leaves the longest to those before it. The
    # atomic groups (?>...) give nothing back, so that no name takes more than linear time for each `*`.
    last, *others = ("".join(reversed(segment)) for segment in reversed(segments))
    middle = "".join(f"(?>(.*?){segment})" for segment in others[:-1])
    expression = last + middle + "".join(f"(.*){segment}" for segment in others[-1:])
    try:
        return Glob(len(others), re.compile(expression), re.split(r"[*?\]]", pattern)[-1])
    except re.error as error:
        raise ValueError(f"a pattern must have only valid sets in brackets, got {pattern!r}: {error}") from None


class RecipePattern(str):
    """A pattern of a recipe, equal to its text: optional, or with the text of the error for a model that lacks it."""

    expression: str | re.Pattern[str]
    is_optional = False
    missing = ""
    advice = ""
    layer_count: LayerCount | None = None


@dataclass(frozen=True)
class ParsedPattern:
    """A condition on parameters: the full name matches, and the kind or the owner is that of the pattern."""

    text: str
    name: re.Pattern[str] | Glob
    of: str | None = None  # a kind or an owner
    is_optional: bool = False  # a pattern of a recipe for parameters that a model may lack
    missing: str = ""  # the error where it matches nothing
    advice: str = ""
    layer_count: LayerCount | None = None

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


def as_pattern(pattern: Any, argument: str) -> ParsedPattern:
    """Return the argument as a pattern: a glob, then optionally `:kind` or `:Owner`; or a compiled expression."""
    if isinstance(pattern, RecipePattern):
        own = as_pattern(pattern.expression, argument)
        return replace(
            own,
            text=str(pattern),
            is_optional=pattern.is_optional,
            missing=pattern.missing,
            advice=pattern.advice,
            layer_count=pattern.layer_count,
        )
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return ParsedPattern(f"re.compile({pattern.pattern!r})", pattern)
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


class PatternValue(NamedTuple):
    """A pattern and its value."""

    pattern: ParsedPattern
    value: Any
    source: int = 0  # the number of the mapping that has it, of a list of them


class Ordered:
    """Values by pattern, in order: the first pattern that matches counts."""

    def __init__(self, rules: Any, argument: str, check: Callable[[Any, str], Any]) -> None:
        if isinstance(rules, str) or (rules is not None and not isinstance(rules, Iterable)):
            hint = advice_for_text(rules) if isinstance(rules, str) else ""
            raise TypeError(f"{argument} must be a mapping by pattern, or pairs, got {rules!r}{hint}")
        self.rules: list[PatternValue] = []
        for source, (pattern, value) in _pairs(rules, argument):
            checked = check(value, f"{argument} of {pattern!r}")
            self.rules.append(PatternValue(as_pattern(pattern, argument), checked, source))
        self._unused = dict.fromkeys(range(len(self.rules)))
        # The rules that may match, by the last component of a name, the kind and the owner.
        self._candidates: dict[tuple[str, str, str | None], list[tuple[int, PatternValue]]] = {}

    def first(self, parameter: Parameter) -> Any:
        """Return the value of the first pattern that matches the parameter; None where none does."""
        rule = self.match(parameter)
        return None if rule is None else rule.value

    def match(self, parameter: Parameter) -> PatternValue | None:
        """Return the first pattern that matches the parameter, with its value."""
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

    def unused(self, parameters: Sequence[Parameter] = ()) -> Iterator[tuple[ParsedPattern, list[ParsedPattern]]]:
        """Yield the patterns that came first for none of the parameters, and those before each.

        A rule of a later mapping may be replaced by those of earlier ones.
        """
        for number in self._unused:
            pattern, _, source = self.rules[number]
            if pattern.is_optional:
                continue
            before = self.rules[:number]
            matched = [parameter for parameter in parameters if pattern.matches(parameter)]
            earlier = [rule.pattern for rule in before if rule.source != source]
            if not any(other.matches(parameter) for other in earlier for parameter in matched):
                yield pattern, [rule.pattern for rule in before]


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
            raise TypeError(f"{argument} must be a mapping by pattern, or pairs, got {each!r}")


class SameAs(NamedTuple):
    """New name of parameters that share the stream of another parameter."""

    name: str


@public("initlib")
def same_as(name: str) -> SameAs:
    """Make a value of `rename=` that gives a parameter the stream, and so the weights, of another parameter.

    The usual case is a target network that starts equal to the online network. Both parameters must have the same
    shape, axes and initializer.

    Args:
        name: the name of the other parameter, in which each `*` becomes the text that a `*` in the pattern matches.

    Returns:
        A value of `rename=`.

    Raises:
        TypeError: the name is not a string.

    Example:
        >>> from initlib import Parameter, normal, plan
        >>> networks = [Parameter("online.fc.weight", (2, 2)), Parameter("target.fc.weight", (2, 2))]
        >>> weights = plan(networks, normal(), rename={"target.*": same_as("online.*")}).draw(seed=0)
        >>> bool((weights["target.fc.weight"] == weights["online.fc.weight"]).all())
        True
    """
    return SameAs(check_name(name, "same_as"))


class Renamer:
    """New names by pattern: the first pattern that matches the full name counts."""

    def __init__(self, rename: Mapping[Any, Any]) -> None:
        self.rules: list[tuple[Any, re.Pattern[str] | Glob, str]] = []
        self.shared = [isinstance(new, SameAs) for new in rename.values()]
        for pattern, value in rename.items():
            new = value.name if isinstance(value, SameAs) else value
            check_name(new, f"the new name of {pattern!r}")
            by_glob = not isinstance(pattern, re.Pattern)
            expression = glob(check_name(pattern, "rename's pattern")) if by_glob else pattern
            if by_glob and new.count("*") > expression.groups:
                raise ValueError(f"rename of {pattern!r} must have no more * than the pattern, got {new!r}")
            self.rules.append((pattern, expression, new))
        self._unused = dict.fromkeys(range(len(self.rules)))

    def __call__(self, name: str) -> str:
        number = self._first(name)
        if number is None:
            return name
        self._unused.pop(number, None)
        _, expression, new = self.rules[number]
        return with_stars(new, expression, name)

    def shares(self, name: str) -> bool:
        """Return whether the name becomes that of another parameter, by `same_as`."""
        number = self._first(name)
        return number is not None and self.shared[number]

    def _first(self, name: str) -> int | None:
        return next((n for n, (_, expression, _) in enumerate(self.rules) if expression.fullmatch(name)), None)

    def unused(self) -> list[Any]:
        """Return the patterns that have renamed no name."""
        return [self.rules[number][0] for number in self._unused]


def starred(new: str, pattern: ParsedPattern, name: str) -> str:
    """Return the name of an old weight with the texts of a rule's pattern in it. Raises ValueError."""
    if isinstance(pattern.name, Glob) and new.count("*") > pattern.name.groups:
        raise ValueError(f"the name {new!r} must have no more * than the rule's pattern, got {pattern.text!r}")
    try:
        return with_stars(new, pattern.name, name)
    except (re.error, IndexError) as error:
        raise ValueError(f"the name {new!r} must have only groups of the rule's pattern, got {error}") from None


def with_stars(new: str, pattern: re.Pattern[str] | Glob, name: str) -> str:
    """Return a new name with the text that each `*` of a pattern has in a name; of an expression, with its groups."""
    match = pattern.fullmatch(name)
    assert match is not None
    if isinstance(match, re.Match):
        return match.expand(new)
    first, *rest = new.split("*")
    return first + "".join(star + text for star, text in zip(match.groups(), rest, strict=False))


def as_rename(rename: Any) -> Callable[[str], str]:
    """Return the argument of `rename=` as a function from names to new names."""
    if rename is None:
        return str
    if isinstance(rename, Mapping):
        return Renamer(rename)
    if not callable(rename):
        raise TypeError(f"rename must be a mapping by pattern or a function of the name, got {rename!r}")
    return rename  # type: ignore[no-any-return]

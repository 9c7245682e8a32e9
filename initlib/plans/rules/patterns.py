"""Patterns: which parameters are meant, by name, kind and owner."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..parameter import Parameter, check_name


@lru_cache(maxsize=1024)
def glob(pattern: str) -> re.Pattern[str]:
    """The regular expression of a glob: `*` is any text with any dots, `?` a character, `[ab]` or `[!ab]` one of a set.

    >>> glob("h.*.mlp.w[13]").fullmatch("h.11.mlp.w3").groups()
    ('11',)

    Each `*` is a group. Raises ValueError for a set that is not closed, or cannot be read.
    """
    expression, at = "", 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "*":
            at += len(pattern[at:]) - len(pattern[at:].lstrip("*"))
            expression += "(.*)"
        elif letter == "[":
            inverted = pattern.startswith("!", at)
            end = pattern.find("]", at + inverted + 1)  # a set has at least one character
            if end < 0:
                raise ValueError(f"pattern {pattern!r} leaves a bracket open")
            characters = re.sub(r"([\\\[\]^&~|])", r"\\\1", pattern[at + inverted : end])
            expression += f"[{'^' * inverted}{characters}]"
            at = end + 1
        else:
            expression += "." if letter == "?" else re.escape(letter)
    try:
        return re.compile(expression)
    except re.error as error:
        raise ValueError(f"pattern {pattern!r} has a set that cannot be read: {error}") from None


@dataclass(frozen=True)
class Pattern:
    """Whom a rule is for: the whole name matches, and the kind or the owner is the one that the pattern says."""

    text: str
    name: re.Pattern[str]
    of: str | None = None  # a kind or an owner

    def matches(self, parameter: Parameter) -> bool:
        """Whether the parameter is meant."""
        return self.of in (None, parameter.kind, parameter.owner) and bool(self.name.fullmatch(parameter.name))


def as_pattern(pattern: Any, argument: str) -> Pattern:
    """The argument as a pattern: a glob, then optionally `:kind` or `:Owner`; or a compiled regular expression."""
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return Pattern(f"re.compile({pattern.pattern!r})", pattern)
    if not isinstance(pattern, str):
        raise TypeError(f"{argument} must be by globs or compiled regular expressions, got {pattern!r}")
    name, colon, of = pattern.rpartition(":") if ":" in pattern else (pattern, "", "")
    if not name or (colon and not of):
        raise ValueError(f"{argument} has the pattern {pattern!r}; write a glob, then optionally :kind or :Owner")
    return Pattern(pattern, glob(name), of or None)


class Ordered:
    """What is said of parameters by pattern, in order: the first pattern that matches counts."""

    def __init__(self, said: Any, argument: str, check: Callable[[Any, str], Any]) -> None:
        if said is not None and not isinstance(said, Iterable):
            raise TypeError(f"{argument} must be a mapping by pattern, or pairs, got {said!r}")
        pairs = list(said.items() if isinstance(said, Mapping) else said or ())
        for pair in pairs:
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise TypeError(f"{argument} must be a mapping by pattern, or pairs, got {pair!r}")
        self.patterns = [as_pattern(pattern, argument) for pattern, _ in pairs]
        self.said = [check(each, f"{argument} of {pattern!r}") for pattern, each in pairs]
        self._unused = dict.fromkeys(range(len(pairs)))

    def first(self, parameter: Parameter) -> Any:
        """What is said of the parameter; None where nothing is."""
        for number, pattern in enumerate(self.patterns):
            if pattern.matches(parameter):
                self._unused.pop(number, None)
                return self.said[number]
        return None

    def unused(self) -> list[tuple[Pattern, list[Pattern]]]:
        """The patterns that came first for nothing, and those before each."""
        return [(self.patterns[number], self.patterns[:number]) for number in self._unused]


class Rename:
    """New names by pattern: the first one that matches the whole name counts."""

    def __init__(self, rename: Mapping[Any, Any]) -> None:
        self.rules: list[tuple[Any, re.Pattern[str], str]] = []
        for pattern, new in rename.items():
            check_name(new, f"the new name of {pattern!r}")
            by_glob = not isinstance(pattern, re.Pattern)
            expression = glob(check_name(pattern, "rename's pattern")) if by_glob else pattern
            if by_glob and new.count("*") > expression.groups:
                raise ValueError(f"rename makes {new!r} of {pattern!r}, which has fewer *")
            self.rules.append((pattern, expression, new))
        self._unused = dict.fromkeys(range(len(self.rules)))

    def __call__(self, name: str) -> str:
        for number, (pattern, expression, new) in enumerate(self.rules):
            match = expression.fullmatch(name)
            if match is not None:
                self._unused.pop(number, None)
                return match.expand(new) if isinstance(pattern, re.Pattern) else _with_stars(new, match.groups())
        return name

    def unused(self) -> list[Any]:
        """The patterns that have renamed nothing."""
        return [self.rules[number][0] for number in self._unused]


def _with_stars(new: str, stars: tuple[str, ...]) -> str:
    """The new name with a text in place of each `*`."""
    first, *rest = new.split("*")
    return first + "".join(star + text for star, text in zip(stars, rest, strict=False))


def as_rename(rename: Any) -> Callable[[str], str]:
    """The argument as a function from names to new names: of a mapping by pattern, or itself one."""
    if rename is None:
        return str
    if isinstance(rename, Mapping):
        return Rename(rename)
    if not callable(rename):
        raise TypeError(f"rename must be a mapping by pattern or a function of the name, got {rename!r}")
    return rename  # type: ignore[no-any-return]

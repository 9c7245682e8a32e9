"""Patterns: which parameters a rule is for, and what they are renamed to."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .parameter import Parameter, check_name

__all__ = ["Pattern", "Rename", "as_pattern", "as_rename", "glob"]


@lru_cache(maxsize=1024)
def glob(pattern: str) -> re.Pattern[str]:
    """The regular expression of a glob: `*` is any text, dots too; `?` one character; `[abc]`, `[!abc]` one of a set.

    Each `*` is a group of its own.
    """
    found, at = "", 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "*":
            at += len(pattern[at:]) - len(pattern[at:].lstrip("*"))
            found += "(.*)"
        elif letter == "?":
            found += "."
        elif letter == "[":
            negated = pattern[at : at + 1] == "!"
            end = pattern.find("]", at + negated + 1)  # a set holds at least one character
            if end < 0:
                raise ValueError(f"pattern {pattern!r} leaves a bracket open")
            inner = pattern[at + negated : end].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
            found += f"[{'^' * negated}{inner}]"
            at = end + 1
        else:
            found += re.escape(letter)
    try:
        return re.compile(found)
    except re.error as error:
        raise ValueError(f"pattern {pattern!r} has a set that cannot be read: {error}") from None


@dataclass(frozen=True)
class Pattern:
    """What a rule matches: the whole name, and the kind or the owner if the pattern says one."""

    text: str
    name: re.Pattern[str]
    kind: str | None = None  # or an owner

    def matches(self, parameter: Parameter) -> bool:
        """Whether the pattern matches the parameter."""
        return self.kind in (None, parameter.kind, parameter.owner) and bool(self.name.fullmatch(parameter.name))

    def __str__(self) -> str:
        return self.text


def as_pattern(pattern: Any) -> Pattern:
    """The pattern of a rule: a glob, then optionally `:kind` or `:Owner`; or a compiled regular expression."""
    if isinstance(pattern, re.Pattern):
        if not isinstance(pattern.pattern, str):
            raise TypeError(f"pattern must be a regular expression of strings, got {pattern!r}")
        return Pattern(f"re.compile({pattern.pattern!r})", pattern)
    if not isinstance(pattern, str):
        raise TypeError(f"pattern must be a string or a compiled regular expression, got {pattern!r}")
    text, colon, kind = pattern.rpartition(":")
    if not colon:
        text, kind = pattern, ""
    if not text or (colon and not kind):
        raise ValueError(f"pattern {pattern!r} must be a glob on the name, then optionally :kind or :Owner")
    return Pattern(pattern, glob(text), kind or None)


class Ordered:
    """What is said of parameters by pattern: the first pattern that matches counts."""

    def __init__(self, said: Any, argument: str, check: Callable[[Any, str], Any]) -> None:
        self.argument = argument
        self.patterns: list[Pattern] = []
        self.said: list[Any] = []
        pairs = said.items() if isinstance(said, Mapping) else said
        for pair in () if pairs is None else pairs:
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise TypeError(f"{argument} must be a mapping by pattern, or pairs, got {pair!r}")
            pattern = as_pattern(pair[0])
            self.patterns.append(pattern)
            self.said.append(check(pair[1], f"{argument}[{pattern}]"))
        self._unused = dict.fromkeys(range(len(self.patterns)))

    def first(self, parameter: Parameter) -> Any:
        """What is said of the parameter; None where no pattern matches."""
        for number, pattern in enumerate(self.patterns):
            if pattern.matches(parameter):
                self._unused.pop(number, None)
                return self.said[number]
        return None

    def unused(self) -> list[tuple[Pattern, list[Pattern]]]:
        """The patterns that were the first for nothing, and those before each."""
        return [(self.patterns[number], self.patterns[:number]) for number in self._unused]


def as_rename(rename: Any) -> Callable[[str], str]:
    """The function that renames, of a mapping of patterns or a function; a mapping's has `unused()`."""
    if rename is None:
        return str
    if isinstance(rename, Mapping):
        return Rename(rename)
    if callable(rename):
        return rename  # type: ignore[no-any-return]
    raise TypeError(f"rename must be a mapping of patterns to names, or a function of a name, got {rename!r}")


class Rename:
    """New names by pattern: the first one that matches the whole name says the new one."""

    def __init__(self, rename: Mapping[Any, str]) -> None:
        self.rules: list[tuple[Any, re.Pattern[str], str]] = []
        for pattern, new in rename.items():
            check_name(new, f"the new name of {pattern!r}")
            known = as_pattern(pattern) if isinstance(pattern, re.Pattern) else None
            name = known.name if known is not None else glob(check_name(pattern, "rename's pattern"))
            if known is None and new.count("*") > name.groups:
                raise ValueError(f"rename gives {pattern!r} the name {new!r}, which has more * than the pattern")
            self.rules.append((pattern, name, new))
        self._unused = dict.fromkeys(range(len(self.rules)))

    def __call__(self, name: str) -> str:
        for number, (pattern, expression, new) in enumerate(self.rules):
            match = expression.fullmatch(name)
            if match is not None:
                self._unused.pop(number, None)
                if isinstance(pattern, re.Pattern):
                    return match.expand(new)
                return "".join(
                    f"{text}{star}" for text, star in zip(new.split("*"), [*match.groups(), ""], strict=False)
                )
        return name

    def unused(self) -> list[Any]:
        """The patterns that have renamed nothing."""
        return [self.rules[number][0] for number in self._unused]

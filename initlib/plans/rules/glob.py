"""Globs: texts with wildcards that match full names."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple


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
        """Match the full name. Of several matches, return the match with the longest first `*`, then the second."""
        match = self.reversed_expression.fullmatch(name[::-1])
        return None if match is None else GlobMatch(tuple(text[::-1] for text in reversed(match.groups())))

    def matches(self, name: str) -> bool:
        """Return whether the glob matches the full name."""
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
    # The match runs from the last character to the first: the shortest text for each `*` leaves the longest text to the
    # `*` before it. Atomic groups (?>...) do not backtrack, so that each `*` takes linear time.
    last, *others = ("".join(reversed(segment)) for segment in reversed(segments))
    middle = "".join(f"(?>(.*?){segment})" for segment in others[:-1])
    expression = last + middle + "".join(f"(.*){segment}" for segment in others[-1:])
    try:
        return Glob(len(others), re.compile(expression), re.split(r"[*?\]]", pattern)[-1])
    except re.error as error:
        raise ValueError(f"a pattern must have only valid sets in brackets, got {pattern!r}: {error}") from None


def with_stars(new: str, pattern: re.Pattern[str] | Glob, name: str) -> str:
    """Return a new name: each `*` becomes the text of a `*` of the pattern in a name, or of a regular group."""
    match = pattern.fullmatch(name)
    assert match is not None
    if isinstance(match, re.Match):
        return match.expand(new)
    first, *rest = new.split("*")
    return first + "".join(star + text for star, text in zip(match.groups(), rest, strict=False))

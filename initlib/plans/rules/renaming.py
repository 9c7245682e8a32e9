"""Renaming: the names of streams, from the names of parameters."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..._public import public
from ..parameter import check_name
from .glob import Glob, glob, with_stars


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


def as_rename(rename: Any) -> Callable[[str], str]:
    """Return the argument of `rename=` as a function from names to new names."""
    if rename is None:
        return str
    if isinstance(rename, Mapping):
        return Renamer(rename)
    if not callable(rename):
        raise TypeError(f"rename must be a mapping by pattern or a function of the name, got {rename!r}")
    return rename

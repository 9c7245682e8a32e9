"""Error of a plan: all problems at once."""

import re
from collections.abc import Iterable, Sequence
from itertools import product
from typing import NamedTuple

from ..._public import public
from .folding import listed, unnumbered

SHOWN = 50  # lines
NAMED = 6  # names in a line
PATTERN = "<pattern>"  # in advice, in place of the pattern of the parameters that have the problem


class Problem(NamedTuple):
    """A problem of a plan: the name of a parameter, the text, and advice that parameters may share."""

    name: str
    text: str
    advice: str = ""


class RuleNeededError(ValueError):
    """A parameter that only a rule can fill: the reason, and advice that shows the rule."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}. {advice}")
        self.reason = reason
        self.advice = advice


@public("initlib")
class PlanError(ValueError):
    """Error that lists all problems of a plan that cannot be made. Nothing was written.

    Equal problems share one line of the text. Names that differ only in numbers are folded: `h.{0..3}.weight`.

    Args:
        problems: a string for each problem; the attribute `problems` holds all of them.

    Example:
        >>> print(PlanError(["h.0.w: no rule", "h.1.w: no rule", "h.2.w: no axes"]))
        the plan has 2 problems:
          - h.{0..1}.w: no rule
          - h.2.w: no axes
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        every = _lines(self.problems)
        lines = [f"  - {line}" for line in every[:SHOWN]]
        if len(every) > SHOWN:
            lines.append(f"  and {len(every) - SHOWN} more (in the error's `problems`)")
        super().__init__("\n".join([f"the plan has {len(every)} problem{'s' * (len(every) != 1)}:", *lines]))

    @classmethod
    def of(cls, problems: Iterable[Problem], names: Iterable[str] = ()) -> "PlanError":
        """Return the error of these problems. Parameters with the same problem share the pattern in their advice.

        Args:
            problems: the problems, in the order in which they are listed.
            names: the names of all parameters; a pattern in the advice matches no other parameter.

        Returns:
            The error.
        """
        groups: dict[tuple[str, str], list[str]] = {}
        for name, text, advice in problems:
            groups.setdefault((text, advice), []).append(name)
        every = list(names)
        return cls(line for (text, advice), alike in groups.items() for line in _strings(text, advice, alike, every))

    def __reduce__(self) -> tuple[type["PlanError"], tuple[tuple[str, ...]]]:
        return PlanError, (self.problems,)  # pickle the problems, not their text


def _lines(problems: Sequence[str]) -> list[str]:
    """Return the problems, each text with the names of all its parameters.

    Numbers in quoted names do not count as differences. Then the line has the text of the first parameter.
    """
    groups: dict[str, tuple[str, list[str]]] = {}
    for problem in problems:
        name, colon, text = problem.partition(": ")
        if colon and " " not in name:
            groups.setdefault(unnumbered(text), (text, []))[1].append(name)
        else:
            groups.setdefault(problem, (problem, []))
    return [f"{listed(names, NAMED)}: {text}" if names else text for text, names in groups.values()]


def _strings(text: str, advice: str, alike: list[str], names: list[str]) -> list[str]:
    """Return the problem of each of these parameters, with patterns in its advice that are as wide as possible."""
    if PATTERN in advice:
        return [
            f"{name}: {text}. {advice.replace(PATTERN, _quoted(pattern))}"
            for pattern, group in _patterns(alike, names).items()
            for name in group
        ]
    full = f"{text}. {advice}" if advice else text
    return [f"{name}: {full}" if name else full for name in alike]


def _quoted(pattern: str) -> str:
    return '"' + "".join(f"[{letter}]" if letter in "?[" else letter for letter in pattern) + '"'


def _patterns(alike: list[str], names: list[str]) -> dict[str, list[str]]:
    """Return patterns that match these names and no others, with as few of their last components as possible.

    A `*` in place of numbers joins more names.

    >>> names = ["ps.0", "ps.1", "a.up.weight", "b.up.weight", "c.weight"]
    >>> _patterns(names[:4], names)
    {'ps.*': ['ps.0', 'ps.1'], '*.up.weight': ['a.up.weight', 'b.up.weight']}
    """
    own = set(alike)
    others = [name for name in names if name not in own]
    deepest = max(name.count(".") for name in alike) + 1
    patterns: dict[str, list[str]] = {}
    left = list(dict.fromkeys(alike))
    for number, depth in product(("*", None), range(1, deepest + 1)):
        groups: dict[str, list[str]] = {}
        for name in left:
            groups.setdefault(_ending(name, depth, number), []).append(name)
        left = []
        for group in groups.values():
            pattern = _pattern(group, depth)
            if pattern is None or any(map(re.compile(_expression(pattern)).fullmatch, others)):
                left += group
            else:
                patterns[pattern] = group
    return patterns


def _pattern(names: list[str], depth: int) -> str | None:
    """Return the pattern of names that have the last `depth` components in common, but for their numbers."""
    ending, *more = {_ending(name, depth) for name in names}
    if more:
        ending = _ending(names[0], depth, "*")
    complete = sum(name.count(".") < depth for name in names)
    if complete == len(names):
        return ending
    if ending.split(".")[0] == "*":
        return None  # the component before a number says more
    return f"*{ending}" if complete else f"*.{ending}"


def _ending(name: str, depth: int, number: str | None = None) -> str:
    ending = ".".join(name.split(".")[-depth:])
    return ending if number is None else re.sub("[0-9]+", number, ending)


def _expression(pattern: str) -> str:
    return ".*".join(map(re.escape, pattern.split("*")))

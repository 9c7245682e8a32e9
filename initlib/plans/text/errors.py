"""Error of a plan: all problems at once."""

from collections.abc import Iterable
from typing import NamedTuple

from ..._public import public
from .folding import fold

SHOWN = 50
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

    Args:
        problems: a string for each problem; the attribute `problems` holds all of them.

    Example:
        >>> print(PlanError(["a: no rule", "b: no rule"]))
        the plan has 2 problems:
          - a: no rule
          - b: no rule
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = [f"  - {problem}" for problem in self.problems[:SHOWN]]
        if count > SHOWN:
            lines.append(f"  and {count - SHOWN} more (in the error's `problems`)")
        super().__init__("\n".join([f"the plan has {count} problem{'s' * (count != 1)}:", *lines]))

    @classmethod
    def of(cls, problems: Iterable[Problem], names: Iterable[str] = ()) -> "PlanError":
        """Return the error of these problems. Parameters with the same problem share a line.

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
        return cls(line for (text, advice), alike in groups.items() for line in _lines(text, advice, alike, every))

    def __reduce__(self) -> tuple[type["PlanError"], tuple[tuple[str, ...]]]:
        return PlanError, (self.problems,)  # pickle the problems, not their text


def _lines(text: str, advice: str, alike: list[str], names: list[str]) -> list[str]:
    if PATTERN in advice:
        shared = _patterns(alike, names)
        return [f"{_label(*pair)}: {text}. {advice.replace(PATTERN, _quoted(pair[0]))}" for pair in shared.items()]
    if advice:
        return [f"{_label('', alike)}: {text}. {advice}"]
    return [f"{name}: {text}" if name else text for name, _ in fold((each, None) for each in alike)]


def _label(pattern: str, alike: list[str]) -> str:
    """Return a short label of parameters: their folded name if they share it, else their pattern and the first."""
    first, *others = [name for name, _ in fold((each, None) for each in alike)]
    if not others:
        return first
    return f"{pattern} ({len(alike)} parameters, {first} first)" if pattern else f"{first} and {len(alike) - 1} more"


def _quoted(pattern: str) -> str:
    return '"' + "".join(f"[{letter}]" if letter in "?[" else letter for letter in pattern) + '"'


def _patterns(alike: list[str], names: list[str]) -> dict[str, list[str]]:
    """Return patterns that match these names and no others, with as few of their last components as possible."""
    own = set(alike)
    others = [name for name in names if name not in own]
    patterns: dict[str, list[str]] = {}
    depth, left = 1, list(dict.fromkeys(alike))
    while left:
        groups: dict[str, list[str]] = {}
        for name in left:
            groups.setdefault(".".join(name.split(".")[-depth:]), []).append(name)
        left = []
        for ending, group in groups.items():
            pattern = ending if group == [ending] else f"*{ending}" if ending in group else f"*.{ending}"
            if group == [ending] or not any(name.endswith(pattern[1:]) for name in others):
                patterns[pattern] = group
            else:
                patterns.update({ending: [ending]} if ending in group else {})
                left += [name for name in group if name != ending]
        depth += 1
    return patterns

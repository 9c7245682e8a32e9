"""The error of a plan: every problem that was found, at once."""

from collections.abc import Iterable

from ..._public import public
from .folding import fold

SHOWN = 50

Problem = tuple[str, str]  # the name of a parameter, or "", and what is wrong


@public("initlib")
class PlanError(ValueError):
    """A plan that cannot be made: `problems` says why, one string each, and nothing was written.

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
    def of(cls, problems: Iterable[Problem]) -> "PlanError":
        """The error of problems with parameters: the names that have the same one are folded."""
        names: dict[str, list[str]] = {}
        for name, text in problems:
            names.setdefault(text, []).append(name)
        return cls(
            f"{name}: {text}" if name else text
            for text, alike in names.items()
            for name, _ in fold((each, None) for each in alike)
        )

    def __reduce__(self) -> tuple[type["PlanError"], tuple[tuple[str, ...]]]:
        return PlanError, (self.problems,)  # what is pickled is the problems, not their text

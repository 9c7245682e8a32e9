"""The error of a plan: every problem that was found, at once."""

from collections.abc import Iterable

__all__ = ["PlanError"]

SHOWN = 50


class PlanError(ValueError):
    """A plan that cannot be made: `problems` says why, one string each, and nothing was written.

    >>> raise PlanError(["a: no rule", "b: no rule"])
    Traceback (most recent call last):
    initlib.models.errors.PlanError: the plan has 2 problems:
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

    def __reduce__(self) -> tuple[type["PlanError"], tuple[tuple[str, ...]]]:
        return PlanError, (self.problems,)  # what is pickled is the problems, not their text

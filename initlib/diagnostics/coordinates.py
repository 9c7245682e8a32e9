"""Coordinate check: the size of activations over the width of a model, before and after training steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .table import Report, number, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Coordinate:
    """Mean `|x|` of one activation after a number of steps, at each width, and the slope of its logarithm."""

    name: str
    step: int
    sizes: tuple[float, ...]  # the mean over seeds, at each width
    slope: float | None  # by the logarithm of the width; None where a size is 0
    verdict: str  # steady, grows, shrinks or zero


class CoordinateCheck(Report):
    """Report of `coordinate_check`: the check passes if no activation grows or shrinks with the width.

    In muP the head (the last activation) starts smaller in wider models, and training removes the difference. So the
    head may shrink before the first step, and after every step that raises its slope. A size that is not finite counts
    as infinite.

    Args:
        widths: the widths of the models.
        sizes: for each step, the mean `|x|` at each width by the name of the activation.
        tolerance: the largest absolute slope of a steady activation.

    Example:
        >>> start = {"hidden": [1.0, 1.0, 1.0], "head": [0.4, 0.2, 0.1]}
        >>> check = CoordinateCheck([64, 128, 256], [start, {"hidden": [1, 2, 4], "head": [1, 1, 1]}], tolerance=0.1)
        >>> print(check)
        activation  step  64   128  256  slope  verdict
        hidden      0     1    1    1    +0.00  steady
        head        0     0.4  0.2  0.1  -1.00  shrinks
        hidden      1     1    2    4    +1.00  grows
        head        1     1    1    1    +0.00  steady
        >>> check.passed, [(row.name, row.step) for row in check.failing]
        (False, [('hidden', 1)])

    Reference:
        Yang et al. Tensor Programs V: tuning large neural networks via zero-shot hyperparameter transfer, appendix
        D.1. 2022. arXiv:2203.03466.
    """

    def __init__(
        self, widths: Sequence[int], sizes: Sequence[Mapping[str, Sequence[float]]], *, tolerance: float
    ) -> None:
        self.widths, self.tolerance = tuple(widths), tolerance
        self.rows = tuple(
            _coordinate(name, step, line, self.widths, tolerance)
            for step, lines in enumerate(sizes)
            for name, line in lines.items()
        )

    @property
    def growing(self) -> list[Coordinate]:
        """Return the rows whose slope is above the tolerance."""
        return [row for row in self.rows if row.verdict == "grows"]

    @property
    def failing(self) -> list[Coordinate]:
        """Return the rows that grow, and the rows that shrink, except for a head that learns."""
        head = self.rows[-1].name if self.rows else ""
        slopes = {row.step: row.slope for row in self.rows if row.name == head and row.slope is not None}
        rows = []
        for row in self.rows:
            before = slopes.get(row.step - 1)
            learns = row.name == head and (row.step == 0 or (before is not None and slopes[row.step] > before))
            if row.verdict == "grows" or (row.verdict == "shrinks" and not learns):
                rows.append(row)
        return rows

    @property
    def passed(self) -> bool:
        """Return True if no activation grows or shrinks with the width."""
        return not self.failing

    def assert_passed(self) -> None:
        """Raise AssertionError with every activation that fails: for tests of a model.

        Raises:
            AssertionError: an activation grows or shrinks with the width.
        """
        if self.failing:
            lines = "\n".join(f"  {row.name}, step {row.step}: slope {row.slope:+.2f}" for row in self.failing)
            raise AssertionError(f"activations change with the width by more than {self.tolerance:g}:\n{lines}")

    def __str__(self) -> str:
        rows = [
            [row.name, str(row.step), *map(number, row.sizes), _signed(row.slope), row.verdict] for row in self.rows
        ]
        return table(["activation", "step", *map(str, self.widths), "slope", "verdict"], rows)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the rows as dictionaries. JSON can store the rows if all numbers are finite."""
        return [asdict(row) for row in self.rows]

    def plot(self) -> "Figure":
        """Draw mean `|x|` over width on logarithmic axes, one panel for each step: flat lines pass.

        The legend names the activations of the greatest slopes.

        Returns:
            A matplotlib `Figure`.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from .pictures import coordinates

        steps: list[dict[str, Sequence[float]]] = [{} for _ in range(self.rows[-1].step + 1)]
        slopes: dict[str, list[float]] = {}
        for row in self.rows:
            steps[row.step][row.name] = row.sizes
            slopes.setdefault(row.name, []).extend([] if row.slope is None else [row.slope])
        worst = {name: max(values, default=None) for name, values in slopes.items()}
        names = sorted(worst, key=lambda name: math.inf if (slope := worst[name]) is None else -slope)
        return coordinates(self.widths, steps, {name: f"{name}: {_signed(worst[name])}" for name in names})


def _signed(slope: float | None) -> str:
    return "-" if slope is None else f"{round(slope, 2) + 0.0:+.2f}"  # adding 0.0 turns -0.0 into 0.0


def _coordinate(name: str, step: int, line: Sequence[float], widths: Sequence[int], tolerance: float) -> Coordinate:
    """Fit the slope of one activation at one step, and judge it."""
    sizes: NDArray[np.float64] = np.array(line, np.float64)
    sizes[np.isnan(sizes)] = np.inf
    values = tuple(sizes.tolist())
    if (sizes == 0).any():
        return Coordinate(name, step, values, None, "zero")
    if np.isinf(sizes).any():
        return Coordinate(name, step, values, math.inf, "grows")
    x = np.log(np.array(widths, np.float64))
    x = x - x.mean()
    slope = float(x @ np.log(sizes) / (x @ x))
    verdict = "grows" if slope > tolerance else "shrinks" if slope < -tolerance else "steady"
    return Coordinate(name, step, values, slope, verdict)

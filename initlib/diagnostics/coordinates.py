"""CoordinateCheck: how the size of activations depends on the width of a model, before and after some steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .table import number, table


@dataclass(frozen=True)
class Coordinate:
    """The mean `|x|` of one activation after so many steps, at each width, and the slope of its logarithm."""

    name: str
    step: int
    sizes: tuple[float, ...]  # the mean over seeds, at each width
    slope: float | None  # by the logarithm of the width; None where some size is 0
    verdict: str  # steady, grows, shrinks or zero


class CoordinateCheck:
    """Whether activations keep their size as a model is made wider: it passes where none grows, at any step.

    >>> sizes = [{"hidden": [1.0, 1.0, 1.0], "head": [0.4, 0.2, 0.1]}, {"hidden": [1.0, 2.0, 4.0], "head": [1, 1, 1]}]
    >>> check = CoordinateCheck([64, 128, 256], sizes, tolerance=0.1)
    >>> print(check)
    activation  step  64   128  256  slope  verdict
    hidden      0     1    1    1    +0.00  steady
    head        0     0.4  0.2  0.1  -1.00  shrinks
    hidden      1     1    2    4    +1.00  grows
    head        1     1    1    1    +0.00  steady
    >>> check.passed, [row.name for row in check.growing]
    (False, ['hidden'])

    `sizes` are those of each step, by activation, at each width. A size that is not finite counts as infinite. What
    shrinks is said, and passes: in muP a head starts so, and it does not stay so.
    Yang et al. 2022, arXiv 2203.03466, appendix D.1.
    """

    def __init__(
        self, widths: Sequence[int], sizes: Sequence[Mapping[str, Sequence[float]]], *, tolerance: float
    ) -> None:
        self.widths, self.tolerance = tuple(widths), tolerance
        self.rows = tuple(
            _judged(name, step, line, self.widths, tolerance)
            for step, lines in enumerate(sizes)
            for name, line in lines.items()
        )

    @property
    def growing(self) -> list[Coordinate]:
        """The rows whose slope is above the tolerance."""
        return [row for row in self.rows if row.verdict == "grows"]

    @property
    def passed(self) -> bool:
        """Whether no activation grows with the width."""
        return not self.growing

    def assert_passed(self) -> None:
        """Raise AssertionError, with every activation that grows, unless none does: for tests of a model."""
        if self.growing:
            lines = "\n".join(f"  {row.name}, step {row.step}: slope {row.slope:+.2f}" for row in self.growing)
            raise AssertionError(f"activations grow with the width by more than {self.tolerance:g}:\n{lines}")

    def __str__(self) -> str:
        rows = [
            [row.name, str(row.step), *map(number, row.sizes), _signed(row.slope), row.verdict] for row in self.rows
        ]
        return table(["activation", "step", *map(str, self.widths), "slope", "verdict"], rows)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))  # what IPython shows

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as dictionaries, fit for JSON but for what is not finite."""
        return [asdict(row) for row in self.rows]

    def plot(self) -> Any:
        """Draw mean `|x|` over width on logarithmic axes, a panel for each step: lines that are flat pass.

        Named are the activations of the greatest slopes. Gives a matplotlib `Figure`; raises ImportError without
        matplotlib.
        """
        from .pictures import coordinates

        steps: list[dict[str, Sequence[float]]] = [{} for _ in range(self.rows[-1].step + 1)]
        slopes: dict[str, list[float]] = {}
        for row in self.rows:
            steps[row.step][row.name] = row.sizes
            slopes.setdefault(row.name, []).extend([] if row.slope is None else [row.slope])
        worst = {name: max(known, default=None) for name, known in slopes.items()}
        names = sorted(worst, key=lambda name: math.inf if (slope := worst[name]) is None else -slope)
        return coordinates(self.widths, steps, {name: f"{name}: {_signed(worst[name])}" for name in names})


def _signed(slope: float | None) -> str:
    return "-" if slope is None else f"{round(slope, 2) + 0.0:+.2f}"  # a slope of 0 has no sign of its own


def _judged(name: str, step: int, line: Sequence[float], widths: Sequence[int], tolerance: float) -> Coordinate:
    sizes: NDArray[Any] = np.array(line, np.float64)
    sizes[np.isnan(sizes)] = np.inf
    known = tuple(sizes.tolist())
    if (sizes == 0).any():
        return Coordinate(name, step, known, None, "zero")
    if np.isinf(sizes).any():
        return Coordinate(name, step, known, math.inf, "grows")
    x = np.log(np.array(widths, np.float64))
    x = x - x.mean()
    slope = float(x @ np.log(sizes) / (x @ x))
    verdict = "grows" if slope > tolerance else "shrinks" if slope < -tolerance else "steady"
    return Coordinate(name, step, known, slope, verdict)

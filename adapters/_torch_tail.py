"""The tail: a normal distribution kept to a window that holds next to nothing of it."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base import Initializer, Weight
from ..initializers import uniform
from ..runs import box_index

__all__ = ["Tail"]

KNOTS = 8193
FOLDS = 40.0  # how many times the density falls by e before the rest counts for nothing
_RANKS = uniform(0.0, 1.0)


@dataclass(frozen=True)
class Tail(Initializer):
    """A normal distribution kept to [low, high], by interpolating its quantiles: for windows of any mass.

    The stream's own normal resolves windows of at least 2**-12 of the mass; PyTorch takes any.
    """

    mean: float
    sigma: float
    low: float
    high: float
    factory: ClassVar[str] = "trunc_normal_"

    def _knots(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values across the window, and their distribution function."""
        low, high = (self.low - self.mean) / self.sigma, (self.high - self.mean) / self.sigma
        mode = max(low, min(0.0, high))
        # Where (z**2 - mode**2) / 2 is FOLDS; as a sum, since the difference would cancel.
        reach = 2 * FOLDS / (abs(mode) + math.sqrt(mode * mode + 2 * FOLDS))
        z = np.linspace(max(low, mode - reach), min(high, mode + reach), KNOTS)
        density = np.exp((mode - z) * (mode + z) / 2)
        mass = np.append(0.0, np.cumsum(density[1:] + density[:-1]))
        return self.mean + self.sigma * z, mass / mass[-1]

    def std(self, shape: Any, axes: str | None = None) -> float:
        values, mass = self._knots()
        middle, weight = (values[1:] + values[:-1]) / 2, np.diff(mass)
        return math.sqrt(float(weight @ (middle - weight @ middle) ** 2))

    def bounds(self, shape: Any, axes: str | None = None) -> tuple[float, float]:
        return self.low, self.high

    def fill(self, out: NDArray[Any], weight: Weight) -> None:
        index = None if weight.box is None else box_index(weight.box)
        ranks = _RANKS(weight.shape, "float64", axes=weight.axes, seed=weight.key, index=index)
        values, mass = self._knots()
        out[...] = np.interp(ranks, mass, values).clip(self.low, self.high)

"""Laws: the distributions that independent weights are drawn from, and what tells whether numbers follow one."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...quadrature import gauss_legendre

Array = NDArray[Any]

_erf = np.vectorize(math.erf, otypes=[np.float64])


class ReferenceDistribution(NamedTuple):
    """A distribution of mean 0 and std 1: uniform, or normal and cut at so many of its sigmas (infinite: not cut)."""

    name: str
    cut: float

    @property
    def label(self) -> str:
        """Its name, and where it is cut."""
        return self.name if self.name == "uniform" else f"{self.name} {self.cut:g}"

    @property
    def bound(self) -> float:
        """The greatest value, in stds."""
        return math.sqrt(3) if self.name == "uniform" else self.cut / _moments(self)[0]

    @property
    def moments(self) -> tuple[float, float, float, float]:
        """E x**2, x**4, x**6, x**8: 1 and what follows."""
        return _moments(self)[1:]

    @property
    def sigma(self) -> float:
        """The std of the normal distribution that was cut, in stds of what is left."""
        return 1 / _moments(self)[0]

    def cdf(self, x: Array) -> Array:
        """The share below x."""
        if self.name == "uniform":
            return np.asarray(np.clip((x / self.bound + 1) / 2, 0, 1))
        whole = _erf(np.clip(x / self.sigma, -self.cut, self.cut) / math.sqrt(2)) / 2
        return np.asarray(0.5 + whole / math.erf(self.cut / math.sqrt(2)))


@lru_cache(maxsize=8)
def _moments(law: ReferenceDistribution) -> tuple[float, float, float, float, float]:
    """The std of the distribution before it is scaled to 1, then the even moments of the scaled one."""
    if law.name == "uniform":
        return 1.0, 1.0, 9 / 5, 27 / 7, 9.0
    x, w = gauss_legendre(200)
    x = x * min(law.cut, 14.0)
    density = w * np.exp(-x * x / 2)
    raw = [float(density @ x**power / density.sum()) for power in (2, 4, 6, 8)]
    second, fourth, sixth, eighth = (moment / raw[0] ** (k + 1) for k, moment in enumerate(raw))
    return math.sqrt(raw[0]), second, fourth, sixth, eighth


REFERENCE_DISTRIBUTIONS = (
    ReferenceDistribution("uniform", 1.0),
    ReferenceDistribution("normal", 2.0),
    ReferenceDistribution("normal", 3.0),
    ReferenceDistribution("normal", math.inf),
)


def kolmogorov(shares: Array) -> tuple[float, float]:
    """The largest distance of the sorted shares from even ones, and the chance of a larger one (Kolmogorov 1933)."""
    n = len(shares)
    even = np.arange(n + 1) / n
    distance = float(max((even[1:] - shares).max(), (shares - even[:-1]).max()))
    t = distance * (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n))  # Stephens 1970
    chance = 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * t) ** 2) for k in range(1, 101))
    return distance, min(max(chance, 0.0), 1.0) if t > 0.2 else 1.0


def wilson_hilferty(value: float, mean: float, variance: float) -> float:
    """How many sigmas a sum of squares is off, by the chi-square of that mean and variance (Wilson, Hilferty 1931)."""
    freedom = 2 * mean * mean / variance
    spread = 2 / (9 * freedom)
    return (math.cbrt(value / mean) - (1 - spread)) / math.sqrt(spread)

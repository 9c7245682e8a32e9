"""Reference distributions of independent weights, and tests of numbers against them."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ...quadrature import Array, gauss_legendre

ERF_STEP = 1 / 64
ERF_DEGREE = 7
ERF_END = 6.0  # beyond which erf is 1 in float64


class ReferenceDistribution(NamedTuple):
    """A distribution of mean 0 and std 1: uniform, or normal and truncated at `cut` of its sigmas (or infinity)."""

    name: str
    cut: float

    @property
    def label(self) -> str:
        """Return the name, and the place of the cut."""
        return self.name if self.name == "uniform" else f"{self.name} {self.cut:g}"

    @property
    def bound(self) -> float:
        """Return the greatest value, in stds."""
        return math.sqrt(3) if self.name == "uniform" else self.cut / _moments(self)[0]

    @property
    def moments(self) -> tuple[float, float, float, float]:
        """Return E x**2, x**4, x**6 and x**8; the first is 1."""
        return _moments(self)[1:]

    @property
    def sigma(self) -> float:
        """Return the std of the normal distribution before the cut, in stds of the truncated distribution."""
        return 1 / _moments(self)[0]

    def cdf(self, x: Array) -> Array:
        """Return the cumulative distribution function."""
        if self.name == "uniform":
            return np.asarray(np.clip((x / self.bound + 1) / 2, 0, 1))
        half = _erf(np.clip(x / self.sigma, -self.cut, self.cut) / math.sqrt(2)) / 2
        return np.asarray(0.5 + half / math.erf(self.cut / math.sqrt(2)))

    def log_chance_of_no_larger(self, largest: float, size: int) -> float:
        """Return the logarithm of the chance that none of `size` absolute values is above `largest`."""
        beyond = (
            math.erfc(largest / math.sqrt(2)) if math.isinf(self.bound) else 2 * float(self.cdf(np.array(-largest)))
        )
        return size * math.log1p(-beyond) if beyond < 1 else -math.inf


@lru_cache(maxsize=8)
def _moments(distribution: ReferenceDistribution) -> tuple[float, float, float, float, float]:
    """Return the std of the distribution before it is scaled to 1, then the even moments of the scaled one."""
    if distribution.name == "uniform":
        return 1.0, 1.0, 9 / 5, 27 / 7, 9.0
    x, w = gauss_legendre(200)
    x = x * min(distribution.cut, 14.0)
    density = w * np.exp(-x * x / 2)
    raw = [float(density @ x**power / density.sum()) for power in (2, 4, 6, 8)]
    second, fourth, sixth, eighth = (moment / raw[0] ** (k + 1) for k, moment in enumerate(raw))
    return math.sqrt(raw[0]), second, fourth, sixth, eighth


@lru_cache(maxsize=1)
def _erf_table() -> tuple[Array, Array]:
    """Return erf and its derivative on a grid of step `ERF_STEP` from 0."""
    x = np.arange(round(ERF_END / ERF_STEP) + 1) * ERF_STEP
    return np.array([math.erf(value) for value in x.tolist()]), 2 / math.sqrt(math.pi) * np.exp(-x * x)


def _erf(x: Array) -> Array:
    """Return the error function to 2e-16, by its Taylor series at the nearest point of a grid."""
    values, slopes = _erf_table()
    size = np.minimum(np.abs(x), ERF_END)
    at = np.rint(size / ERF_STEP).astype(np.intp)
    a = at * ERF_STEP
    d = size - a
    # The derivatives of erf are its first one times Hermite polynomials, with alternating signs.
    before, hermite, power, series = np.zeros_like(d), np.ones_like(d), d, d
    for n in range(1, ERF_DEGREE):
        before, hermite = hermite, 2 * (a * hermite - (n - 1) * before)
        power = power * (-d / (n + 1))
        series = series + hermite * power
    return np.asarray(np.copysign(values[at] + slopes[at] * series, x))


REFERENCE_DISTRIBUTIONS = (
    ReferenceDistribution("uniform", 1.0),
    ReferenceDistribution("normal", 2.0),
    ReferenceDistribution("normal", 3.0),
    ReferenceDistribution("normal", math.inf),
)


def kolmogorov(shares: Array) -> tuple[float, float]:
    """Return the largest distance of sorted shares from even ones, and the chance of a larger one (Kolmogorov 1933)."""
    n = len(shares)
    even = np.arange(n + 1) / n
    distance = float(max((even[1:] - shares).max(), (shares - even[:-1]).max()))
    t = distance * (math.sqrt(n) + 0.12 + 0.11 / math.sqrt(n))  # Stephens 1970
    k = np.arange(1, 101)
    chance = 2 * float(((-1.0) ** (k - 1) * np.exp(-2 * (k * t) ** 2)).sum())
    return distance, min(max(chance, 0.0), 1.0) if t > 0.2 else 1.0


def wilson_hilferty(value: float, mean: float, variance: float) -> float:
    """Return the deviation of a sum of squares in sigmas, by a chi-square distribution (Wilson, Hilferty 1931)."""
    freedom = 2 * mean * mean / variance
    spread = 2 / (9 * freedom)
    return (math.cbrt(value / mean) - (1 - spread)) / math.sqrt(spread)

"""A signal in a wide network: a function of a normal variable, with its moments.

The moments of functions of one unit are exact, by quadrature. Sums of different signals, concatenations and pools are
treated as normal variables again, with their own moments. The correlation of a signal at two positions (of an image or
a sequence) is followed too, because averages over positions keep the common part and lose the rest (Poole et al. 2016,
arXiv:1606.05340, for two inputs).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from ..quadrature import Array, Function, root_mean_square

Moments = tuple[float, float, float]  # the mean, the mean square, and the mean product at two positions

SAMPLES = 4096  # random numbers for moments without a formula
GRID = np.linspace(-6, 6, 121)  # sigmas, on which two correlated variables are integrated
DENSITY = np.exp(-GRID * GRID / 2) / np.exp(-GRID * GRID / 2).sum()


@dataclass(frozen=True)
class Signal:
    """A signal function(mean + std * z), where z is standard normal.

    `source` identifies z, and `alike` is the correlation of z at two positions.
    """

    source: int
    mean: float = 0.0
    std: float = 1.0
    function: Function | None = None
    alike: float = 0.0

    @classmethod
    def normal(cls, source: int, mean: float, square: float, both: float) -> "Signal":
        """Return the normal signal of these moments."""
        variance = max(square - mean**2, 0.0)
        alike = min(max((both - mean**2) / variance, 0.0), 1.0) if variance > 0 else 0.0
        return cls(source, mean, math.sqrt(variance), None, alike)

    def values(self, z: Array) -> Array:
        """Return the signal for values of z."""
        x = self.mean + self.std * z
        if self.function is None:
            return np.asarray(x)
        with np.errstate(all="ignore"):
            y = np.asarray(self.function(x))
        return np.where(np.isnan(y), 0.0, y)  # the root of an approximately normal variance has no value below 0

    def then(self, function: Function | None) -> "Signal":
        """Return the signal after a function of one number."""
        if function is None or self.function is None:
            return replace(self, function=function or self.function)
        return replace(self, function=Composition(function, (self.function,)))

    @property
    def moments(self) -> Moments:
        """Return the mean, the mean square, and the mean product at two positions."""
        return _moments(replace(self, source=0))


@dataclass(frozen=True)
class Composition:
    """A function of several functions of one variable. Compositions of equal functions compare equal."""

    outer: Callable[..., Any]
    inner: tuple[Function | None, ...]

    def __call__(self, x: Array) -> Any:
        return self.outer(*(x if each is None else each(x) for each in self.inner))


@lru_cache(maxsize=256)
def _moments(signal: Signal) -> Moments:
    if signal.function is None:
        square = signal.mean**2 + signal.std**2
        return signal.mean, square, signal.mean**2 + signal.std**2 * signal.alike
    square = root_mean_square(signal.values) ** 2
    mean = (root_mean_square(lambda z: signal.values(z) + 1.0) ** 2 - square - 1) / 2
    if signal.alike > 1 - 1e-9:
        return mean, square, square
    one = np.asarray(signal.values(GRID), np.float64)
    other = signal.values((signal.alike * GRID[:, None] + math.sqrt(1 - signal.alike**2) * GRID).ravel())
    both = float(DENSITY * one @ np.asarray(other, np.float64).reshape(GRID.size, -1) @ DENSITY)
    return mean, square, min(max(both, mean**2), square)


def moments_of_maximum(signal: Signal, count: int) -> Moments:
    """Return the moments of the largest of `count` positions, from random numbers with a fixed seed."""
    rng = np.random.default_rng(0)
    common = math.sqrt(signal.alike) * rng.standard_normal((SAMPLES, 1))
    own = math.sqrt(1 - signal.alike)
    one, two = (
        np.asarray(signal.values((common + own * rng.standard_normal((SAMPLES, count))).ravel()), np.float64)
        .reshape(SAMPLES, count)
        .max(axis=1)
        for _ in range(2)
    )
    return float(one.mean() + two.mean()) / 2, float((one**2).mean() + (two**2).mean()) / 2, float((one * two).mean())


def moments_of_function(function: Callable[..., Any], signals: Sequence[Signal]) -> Moments:
    """Return the moments of a function of several independent signals, from random numbers with a fixed seed."""
    rng = np.random.default_rng(0)
    y = np.asarray(function(*(signal.values(rng.standard_normal(SAMPLES)) for signal in signals)), np.float64)
    return float(y.mean()), float((y * y).mean()), float(y.mean() ** 2)

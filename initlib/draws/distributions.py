"""Laws: from a distribution of real numbers to the integers of the stream."""

import math
from bisect import bisect_left, bisect_right
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .stream import NORMAL_BITS, UNIFORM_BITS, WHOLE_LINE, Law, NumPyOps, scaled

__all__ = ["MIN_MASS", "clamped_law", "normal_law", "truncated_moments", "uniform_law"]

MIN_MASS = 2.0**-12  # of the normal, that a window must hold
MAX_NOISE = 2**24 - 1  # noise has 24 bits and a sign


@lru_cache(maxsize=1)  # importing it and computing it take longer than the rest of `import initlib`
def _gauss_legendre() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(128)
    return nodes, weights


def cdf(z: float) -> float:
    """The normal distribution's, exact in both tails' own scale."""
    return math.erfc(-z / math.sqrt(2)) / 2


def truncated_moments(low: float, high: float) -> tuple[float, float]:
    """The mean and standard deviation of a standard normal kept to (low, high).

    By quadrature: the closed forms cancel where the window is narrow.
    """
    a, b = max(low, -10.0), min(high, 10.0)
    nodes, weights = _gauss_legendre()
    z = (a + b) / 2 + (b - a) / 2 * nodes
    mass = weights * np.exp((np.min(z * z) - z * z) / 2)
    mass /= mass.sum()
    mean = float(mass @ z)
    return mean, math.sqrt(float(mass @ (z - mean) ** 2))


def _rounded(scale: float, dtype: str) -> float:
    """The scale or mean that the engines multiply or add: float32's, but for float64 weights."""
    with np.errstate(over="ignore"):
        return scale if dtype == "float64" else float(np.float32(scale))


def clamped_law(window: tuple[int, int] | None, scale: float, mean: float, low: float, high: float, dtype: str) -> Law:
    """The law whose weights, rounded as the dtype rounds them, stay in [low, high]."""
    law = Law(window, -MAX_NOISE, MAX_NOISE, _rounded(scale, dtype), _rounded(mean, dtype), dtype)

    def weight(noise: int) -> float:
        return float(scaled(law, np.array([noise], np.int32), NumPyOps())[0])

    every = range(-MAX_NOISE, MAX_NOISE + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        least = every[0] if low == -math.inf else bisect_left(every, low, key=weight) - MAX_NOISE
        most = every[-1] if high == math.inf else bisect_right(every, high, key=weight) - 1 - MAX_NOISE
        if least > most:
            raise ValueError(f"no {dtype} value lies between low {low!r} and high {high!r}")
        # What the bounds allow, before the dtype's own end, where they lie beyond it, has its say.
        ends = [(bound - mean) / scale if scale and math.isfinite(bound) else 0 for bound in (low, high)]
        for end in (least, most, *(round(min(max(end, -MAX_NOISE), MAX_NOISE)) for end in ends)):
            if not math.isfinite(weight(end)):
                raise ValueError(f"weights as large as {abs(scale * end + mean):.3g} overflow {dtype}")
    return Law(window, least, most, law.scale, law.mean, dtype)


def uniform_law(low: float, high: float, dtype: str) -> Law:
    """The law of the uniform distribution between two bounds."""
    half = high / 2 - low / 2
    return clamped_law(None, math.ldexp(half, -UNIFORM_BITS), low / 2 + high / 2, low, high, dtype)


def window(low: float, high: float) -> tuple[int, int]:
    """The part of the 32-bit CDF between two bounds in sigmas."""
    lo = round(cdf(low) * 2**32)
    width = 2**32 - round(cdf(-high) * 2**32) - lo
    if width < MIN_MASS * 2**32:
        raise ValueError(
            f"the window from {low:.6g} to {high:.6g} sigmas holds {width / 2**32:.2g} of the normal's mass; "
            f"at least {MIN_MASS:.2g} can be resolved"
        )
    return lo, width


def normal_law(mean: float, std: float, low: float, high: float, dtype: str) -> Law:
    """The law of the normal distribution of that mean and std, kept to [low, high]."""
    whole = std == 0 or (math.isinf(low) and math.isinf(high))
    kept = WHOLE_LINE if whole else window((low - mean) / std, (high - mean) / std)
    return clamped_law(kept, math.ldexp(std, -NORMAL_BITS), mean, low, high, dtype)

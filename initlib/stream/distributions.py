"""Distributions: from real numbers, such as a std and bounds, to a law in the integers of the stream."""

import math
from bisect import bisect_left, bisect_right
from functools import lru_cache

import numpy as np

from ..dtypes import numpy_dtype
from ..quadrature import gauss_legendre
from . import reference as stream
from .law import MAX_NOISE, NORMAL_BITS, UNIFORM_BITS, WHOLE_LINE, Law, noise_bits
from .numpy_engine import NUMPY

MIN_MASS = 2.0**-12  # of the normal, that a window must hold to be resolved by the stream's own quantile
TINY = {"float32": 2.0**-126, "float64": 2.0**-1022}  # the least normal number: some machines flush those below to 0
LEAST_STEPS = 4  # a std of so many of a dtype's smallest steps is right to 0.3% when its weights are rounded


def cdf(z: float) -> float:
    """The normal distribution's, exact in both tails' own scale."""
    return math.erfc(-z / math.sqrt(2)) / 2


def truncated_moments(low: float, high: float) -> tuple[float, float]:
    """The mean and standard deviation of a standard normal kept to (low, high).

    By quadrature: the closed forms cancel where the window is narrow.
    """
    nearest = max(low, min(0.0, high))  # where the density is greatest; it falls off on a scale of 1 / |nearest|
    reach = 100 / (abs(nearest) + 10)
    a, b = max(low, nearest - reach), min(high, nearest + reach)
    nodes, weights = gauss_legendre(128)
    z = (a + b) / 2 + (b - a) / 2 * nodes
    mass = weights * np.exp((np.min(z * z) - z * z) / 2)
    mass /= mass.sum()
    mean = float(mass @ z)
    return mean, math.sqrt(float(mass @ (z - mean) ** 2))


def _rounded(scale: float, dtype: str) -> float:
    """The scale or mean that the engines multiply or add: float32's, but for float64 weights."""
    with np.errstate(over="ignore"):
        return scale if dtype == "float64" else float(np.float32(scale))


def _check_underflow(size: float, bits: int, mean: float, dtype: str) -> None:
    """Raise ValueError where the std of weights would be another one, for what the scale or the dtype rounds away."""
    tiny = TINY["float64" if dtype == "float64" else "float32"]
    if abs(mean) >= math.ldexp(tiny, UNIFORM_BITS):
        return  # its own steps are wider than what the scale's rounding comes to
    std = 1.0 if bits == NORMAL_BITS else 1 / math.sqrt(3)  # of noise of size 1
    least = max(math.ldexp(tiny, bits) * std, LEAST_STEPS * _smallest_step(dtype))
    if 0 < size * std < least:
        raise ValueError(
            f"weights of std {size * std:.3g} underflow {dtype}: its weights need a std of at least {least:.2g}"
        )


@lru_cache(maxsize=8)
def _smallest_step(dtype: str) -> float:
    """The least number above 0 of a dtype: the one whose bits are those of the integer 1."""
    bits = np.dtype(f"u{numpy_dtype(dtype).itemsize}")
    return float(np.ones(1, bits).view(numpy_dtype(dtype))[0])


def clamped_law(window: tuple[int, int] | None, size: float, mean: float, low: float, high: float, dtype: str) -> Law:
    """The law whose weights, rounded as the dtype rounds them, stay in [low, high].

    `size` is what multiplies noise of unit size: the sigma of normal weights, the greatest of uniform ones. Where no
    number of the dtype lies between the bounds, weights are the nearest ones.
    """
    bits = noise_bits(window)
    _check_underflow(size, bits, mean, dtype)
    scale = math.ldexp(size, -bits)
    law = Law(window, -MAX_NOISE, MAX_NOISE, _rounded(scale, dtype), _rounded(mean, dtype), dtype)

    def weight(noise: int) -> float:
        return float(stream.from_noise(law, np.array([noise], np.int32), NUMPY)[0])

    def ends_near(bound: float) -> range:
        """The noises between which weights pass a bound: a few around it; all, where the dtype is coarse."""
        guess = (bound - mean) / scale if scale else math.inf
        if abs(guess) < MAX_NOISE - 4:
            few = range(round(guess) - 4, round(guess) + 5)
            if weight(few[0]) < bound < weight(few[-1]):
                return few
        return range(-MAX_NOISE, MAX_NOISE + 1)

    with np.errstate(over="ignore", invalid="ignore"):
        least, most = -MAX_NOISE, MAX_NOISE
        if low > -math.inf:
            near = ends_near(low)
            least = near[0] + bisect_left(near, low, key=weight)
        if high < math.inf:
            near = ends_near(high)
            most = near[0] + bisect_right(near, high, key=weight) - 1
        if least > most:
            least, most = -MAX_NOISE, MAX_NOISE
        # What the noise reaches and the bounds allow, before the dtype cuts it off, has its say.
        reach = int(stream.COLUMNS[0][0]) if window else MAX_NOISE
        ends = [(bound - mean) / scale if scale and math.isfinite(bound) else 0 for bound in (low, high)]
        for end in (least, most, *ends):
            end = round(min(max(end, -reach), reach))
            if not math.isfinite(weight(end)):
                raise ValueError(f"weights as large as {abs(scale * end + mean):.3g} overflow {dtype}")
    return Law(window, least, most, law.scale, law.mean, dtype)


def uniform_law(low: float, high: float, dtype: str, *, half_open: bool = False) -> Law:
    """The law of the uniform distribution on [low, high], or [low, high)."""
    half = high / 2 - low / 2
    greatest = math.nextafter(high, low) if half_open else high
    return clamped_law(None, half, low / 2 + high / 2, low, greatest, dtype)


def window(low: float, high: float) -> tuple[int, int]:
    """The part of the 32-bit CDF between two bounds in sigmas."""
    lo = round(cdf(low) * 2**32)
    return lo, 2**32 - round(cdf(-high) * 2**32) - lo


def normal_law(mean: float, std: float, low: float, high: float, dtype: str) -> Law:
    """The law of the normal distribution of that mean and std, kept to [low, high]: a window of at least MIN_MASS."""
    whole = std == 0 or (math.isinf(low) and math.isinf(high))
    kept = WHOLE_LINE if whole else window((low - mean) / std, (high - mean) / std)
    return clamped_law(kept, std, mean, low, high, dtype)

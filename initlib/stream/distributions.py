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

MIN_MASS = 2.0**-12  # the least mass of a window that the quantile of the stream resolves
# The least normal number: some machines flush smaller numbers to 0.
TINY = {"float32": 2.0**-126, "float64": 2.0**-1022}
LEAST_STEPS = 4  # rounding changes a std of 4 of a dtype's smallest steps by 0.3%


def cdf(z: float) -> float:
    """Return the normal distribution function, precise in both tails."""
    return math.erfc(-z / math.sqrt(2)) / 2


def truncated_moments(low: float, high: float) -> tuple[float, float]:
    """Return the mean and standard deviation of a standard normal truncated to (low, high).

    Quadrature, because the closed forms cancel where the window is narrow.
    """
    nearest = max(low, min(0.0, high))  # the mode; the density falls off on a scale of 1 / |nearest|
    reach = 100 / (abs(nearest) + 10)
    a, b = max(low, nearest - reach), min(high, nearest + reach)
    nodes, weights = gauss_legendre(128)
    z = (a + b) / 2 + (b - a) / 2 * nodes
    mass = weights * np.exp((np.min(z * z) - z * z) / 2)
    mass /= mass.sum()
    mean = float(mass @ z)
    return mean, math.sqrt(float(mass @ (z - mean) ** 2))


def _rounded(scale: float, dtype: str) -> float:
    """Return the scale or mean as the engines use it: in float32, except for float64 weights."""
    with np.errstate(over="ignore"):
        return scale if dtype == "float64" else float(np.float32(scale))


def _check_underflow(size: float, bits: int, mean: float, dtype: str) -> None:
    """Raise ValueError where rounding of the scale or the dtype would change the std of the weights."""
    tiny = TINY["float64" if dtype == "float64" else "float32"]
    if abs(mean) >= math.ldexp(tiny, UNIFORM_BITS):
        return  # the steps near the mean are wider than the rounding of the scale
    std = 1.0 if bits == NORMAL_BITS else 1 / math.sqrt(3)  # of noise of unit size
    least = max(math.ldexp(tiny, bits) * std, LEAST_STEPS * _smallest_step(dtype))
    if 0 < size * std < least:
        raise ValueError(
            f"weights of std {size * std:.3g} underflow {dtype}, which needs a std of at least {least:.2g}"
        )


@lru_cache(maxsize=8)
def _smallest_step(dtype: str) -> float:
    """Return the least number above 0 of a dtype: its bits are those of the integer 1."""
    bits = np.dtype(f"u{numpy_dtype(dtype).itemsize}")
    return float(np.ones(1, bits).view(numpy_dtype(dtype))[0])


def clamped_law(window: tuple[int, int] | None, size: float, mean: float, low: float, high: float, dtype: str) -> Law:
    """Return the law whose weights, rounded as the dtype rounds them, stay in [low, high].

    `size` multiplies noise of unit size: the sigma of normal weights, the limit of uniform weights. Where no number of
    the dtype lies between the bounds, weights are the nearest numbers.
    """
    bits = noise_bits(window)
    _check_underflow(size, bits, mean, dtype)
    scale = math.ldexp(size, -bits)
    law = Law(window, -MAX_NOISE, MAX_NOISE, _rounded(scale, dtype), _rounded(mean, dtype), dtype)

    def weight(noise: int) -> float:
        return float(stream.from_noise(law, np.array([noise], np.int32), NUMPY)[0])

    def ends_near(bound: float) -> range:
        """Return the noises between which weights pass a bound: a few around it, or all where the dtype is coarse."""
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
        # The largest weights, by noise and by bounds, before the dtype rounds them.
        reach = int(stream.COLUMNS[0][0]) if window else MAX_NOISE
        ends = [(bound - mean) / scale if scale and math.isfinite(bound) else 0 for bound in (low, high)]
        for end in (least, most, *ends):
            end = round(min(max(end, -reach), reach))
            if not math.isfinite(weight(end)):
                raise ValueError(f"weights as large as {abs(scale * end + mean):.3g} overflow {dtype}")
    return Law(window, least, most, law.scale, law.mean, dtype)


def uniform_law(low: float, high: float, dtype: str, *, half_open: bool = False) -> Law:
    """Return the law of the uniform distribution on [low, high], or [low, high)."""
    half = high / 2 - low / 2
    greatest = math.nextafter(high, low) if half_open else high
    return clamped_law(None, half, low / 2 + high / 2, low, greatest, dtype)


def window(low: float, high: float) -> tuple[int, int]:
    """Return the part of the 32-bit CDF between two bounds in sigmas, as (lo, width)."""
    lo = round(cdf(low) * 2**32)
    return lo, 2**32 - round(cdf(-high) * 2**32) - lo


def normal_law(mean: float, std: float, low: float, high: float, dtype: str) -> Law:
    """Return the law of a normal distribution truncated to [low, high], a window of at least MIN_MASS."""
    unbounded = std == 0 or (math.isinf(low) and math.isinf(high))
    kept = WHOLE_LINE if unbounded else window((low - mean) / std, (high - mean) / std)
    return clamped_law(kept, std, mean, low, high, dtype)

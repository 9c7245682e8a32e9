"""Law: the map from the word at a position to a weight, in the integers of the stream."""

from typing import NamedTuple

UNIFORM_BITS = 24  # uniform noise is in units of 2**-24 of the limit
NORMAL_BITS = 21  # normal noise is in units of 2**-21 sigma
MAX_NOISE = 2**24 - 1  # noise has 24 bits and a sign
WHOLE_LINE = (0, 2**32)  # the window of a normal that is not truncated


def noise_bits(window: tuple[int, int] | None) -> int:
    """Return the bits of noise of that window: noise is in units of 2**-bits."""
    return UNIFORM_BITS if window is None else NORMAL_BITS


class Law(NamedTuple):
    """A map from a word to a weight: noise, clamped to [low, high], times the scale, plus the mean, in the dtype.

    `window` is None for uniform noise. For normal noise `window` is (lo, width), the part of the 32-bit
    CDF that is kept.
    """

    window: tuple[int, int] | None
    low: int
    high: int
    scale: float
    mean: float
    dtype: str


def constant_law(value: float, dtype: str) -> Law:
    """Return the law of weights that all have a value, which the dtype holds exactly."""
    return Law(None, 0, 0, value, value, dtype)  # the scale gives its sign to -0.0


WORDS = Law(None, 0, 0, 0.0, 0.0, "uint32")  # the words themselves

"""Uniform weights."""

import math
from typing import ClassVar

from .._arguments import Shape, real
from ..stream.distributions import uniform_law
from ..stream.engine import DrawRequest
from ..stream.law import Law
from ._complex import TwoParts
from .frozen import scheme, set_fields
from .initializer import Initializer
from .kinds import Independent


@scheme("uniform")
class Uniform(Independent):
    """Weights of a uniform distribution on [low, high], with std = (high - low) / sqrt(12).

    The real and the imaginary part of a complex weight have the same distribution. If no number of the dtype lies
    between the bounds, the weights are the nearest numbers of the dtype.

    Args:
        low: least value.
        high: greatest value, at least low.

    Raises:
        TypeError: low or high is not a real number.
        ValueError: low is above high, or a bound is not finite.

    Example:
        >>> from initlib import uniform
        >>> uniform(-0.05, 0.05).std((784, 128))
        0.02886751345948129
    """

    low: float = 0.0
    high: float = 1.0
    half_open: ClassVar[bool] = False

    def __post_init__(self) -> None:
        set_fields(self, low=real(self.low, "low"), high=real(self.high, "high"))
        if self.low > self.high:
            raise ValueError(f"low must not be above high, got low {self.low!r} and high {self.high!r}")

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return (self.high / 2 - self.low / 2) / math.sqrt(3)

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.low, self.high

    def law(self, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
        return uniform_law(self.low, self.high, dtype, half_open=self.half_open)

    def without_law(self, request: DrawRequest) -> Initializer:
        return TwoParts(self)


class HalfOpen(Uniform):
    """Weights of a uniform distribution on [low, high), as JAX promises."""

    half_open: ClassVar[bool] = True


uniform = Uniform
SIGNED_UNIT = uniform(-1.0, 1.0)

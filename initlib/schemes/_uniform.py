"""Uniform weights."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .._arguments import Shape, real
from .._public import public
from ..stream.distributions import uniform_law
from ..stream.engine import DrawRequest, Engine
from ..stream.law import Law
from ._complex import TwoParts
from .initializer import set_fields
from .kinds import Independent


@public("initlib", "uniform")
@dataclass(repr=False, eq=False)
class Uniform(Independent):
    """Weights uniform between two bounds; the two parts of a complex weight alike.

    >>> from initlib import uniform
    >>> uniform(-0.05, 0.05).std((784, 128))
    0.02886751345948129

    Where no number of the dtype lies between the bounds, the weights are the nearest ones. Raises ValueError unless
    low <= high, both finite.
    """

    low: float = 0.0
    high: float = 1.0
    factory: ClassVar[str] = "uniform"
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

    def complex_weights(self, weight: DrawRequest, engine: Engine) -> Any:
        return TwoParts(self).weights(weight, engine)


class HalfOpen(Uniform):
    """`Uniform` that never rounds to its upper bound: what JAX's uniform initializer promises."""

    half_open: ClassVar[bool] = True


uniform = Uniform
SIGNED_UNIT = uniform(-1.0, 1.0)

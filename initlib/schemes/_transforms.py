"""Weights that are a function of a draw: what special parameters of real models need."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .._arguments import Shape, positive
from .._public import public
from ..quadrature import gauss_legendre
from ..stream.engine import DrawRequest, Engine
from ._uniform import uniform
from .initializer import Initializer, set_fields
from .kinds import Elementwise


@public("initlib", "log_uniform")
@dataclass(repr=False, eq=False)
class LogUniform(Elementwise):
    """Weights whose logarithm is uniform between those of two bounds.

    >>> from initlib import log_uniform
    >>> steps = log_uniform(1e-3, 0.1)(5, seed=0)
    >>> bool((steps >= 1e-3).all() and (steps <= 0.1).all())
    True

    The exponential is the array library's own: engines agree to 1e-6. Raises ValueError unless 0 < low <= high, both
    finite. For step sizes of state-space models: Gu, Dao 2023, arXiv 2312.00752.
    """

    low: float
    high: float
    factory: ClassVar[str] = "log_uniform"

    def __post_init__(self) -> None:
        set_fields(self, low=positive(self.low, "low"), high=positive(self.high, "high"))
        if self.low > self.high:
            raise ValueError(f"low must not be above high, got low {self.low!r} and high {self.high!r}")

    @property
    def drawn(self) -> Initializer:
        return uniform(math.log(self.low), math.log(self.high))

    def std(self, shape: Shape, axes: str | None = None) -> float:
        # Of the width of the logarithm, r: the closed form (high - low) / r and so on cancels where r is small.
        width = math.log(self.high) - math.log(self.low)
        nodes, weights = gauss_legendre(128)
        values = [self.low * math.exp(width * (node + 1) / 2) for node in nodes]
        mean = sum(w * v for w, v in zip(weights, values, strict=True)) / 2
        return math.sqrt(sum(w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True)) / 2)

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.low, self.high

    def apply(self, values: Any, weight: DrawRequest, engine: Engine) -> Any:
        return engine.xp.exp(values).clip(self.low, self.high)


@public("initlib", "inverse_softplus")
@dataclass(repr=False, eq=False)
class InverseSoftplus(Elementwise):
    """Biases that softplus, log(1 + exp(b)), turns into the positive weights of another initializer.

    >>> import numpy as np
    >>> from initlib import inverse_softplus, log_uniform
    >>> bias = inverse_softplus(log_uniform(1e-3, 0.1))(5, seed=0)
    >>> steps = np.log1p(np.exp(bias))
    >>> bool((steps > 0.99e-3).all() and (steps < 0.101).all())
    True

    Weights below the floor count as the floor. Raises TypeError for what is no initializer, ValueError unless the
    floor is above 0. As in the authors' code of Mamba: Gu, Dao 2023, arXiv 2312.00752.
    """

    initializer: Initializer
    floor: float = 1e-4
    factory: ClassVar[str] = "inverse_softplus"

    def __post_init__(self) -> None:
        if not isinstance(self.initializer, Initializer):
            raise TypeError(f"initializer must be an initlib initializer, got {self.initializer!r}")
        set_fields(self, floor=positive(self.floor, "floor"))

    @property
    def drawn(self) -> Initializer:
        return self.initializer

    def std(self, shape: Shape, axes: str | None = None) -> float:
        """Not known: nan."""
        return math.nan

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        low, high = (max(bound, self.floor) for bound in self.initializer.bounds(shape, axes))
        return _inverse(low), _inverse(high)

    def apply(self, values: Any, weight: DrawRequest, engine: Engine) -> Any:
        values = values.clip(self.floor, math.inf)
        return values + engine.xp.log(-engine.xp.expm1(-values))


def _inverse(value: float) -> float:
    return value + math.log(-math.expm1(-value)) if math.isfinite(value) else value


log_uniform = LogUniform
inverse_softplus = InverseSoftplus

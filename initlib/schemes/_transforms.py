"""Weights that are a function of a draw, for special parameters such as step sizes of state-space models."""

import math
from dataclasses import dataclass
from typing import Any

from .._arguments import Shape, positive, real
from ..quadrature import gauss_legendre
from ..stream.engine import DrawRequest, Engine
from ._uniform import uniform
from .frozen import scheme, set_fields
from .initializer import Initializer, checked_initializer
from .kinds import Elementwise


@scheme("log_uniform")
class LogUniform(Elementwise):
    """Weights whose logarithm is uniform between the logarithms of two bounds.

    Each framework computes its own exponential, so weights of two frameworks agree to 1e-6, not bit for bit.

    Args:
        low: least value, above 0.
        high: greatest value, at least low.

    Raises:
        TypeError: low or high is not a real number.
        ValueError: 0 < low <= high does not hold, or high is infinite; when drawn, the dtype is complex.

    Example:
        >>> from initlib import log_uniform
        >>> steps = log_uniform(1e-3, 0.1)(5, seed=0)
        >>> bool((steps >= 1e-3).all() and (steps <= 0.1).all())
        True

    Reference:
        Gu, Dao. Mamba: linear-time sequence modeling with selective state spaces. 2023. arXiv:2312.00752.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        set_fields(self, low=positive(self.low, "low"), high=positive(self.high, "high"))
        if self.low > self.high:
            raise ValueError(f"low must not be above high, got low {self.low!r} and high {self.high!r}")

    @property
    def drawn(self) -> Initializer:
        return uniform(math.log(self.low), math.log(self.high))

    def std(self, shape: Shape, axes: str | None = None) -> float:
        # Quadrature, because the closed form, (high - low) / width and so on, cancels where the width is small.
        width = math.log(self.high) - math.log(self.low)
        nodes, weights = gauss_legendre(128)
        values = [math.exp(width * (node - 1) / 2) for node in nodes]  # in units of the highest
        mean = sum(w * v for w, v in zip(weights, values, strict=True)) / 2
        return self.high * math.sqrt(sum(w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True)) / 2)

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.low, self.high

    def apply(self, values: Any, request: DrawRequest, engine: Engine) -> Any:
        return engine.xp.exp(values).clip(self.low, self.high)


@dataclass(repr=False, eq=False)
class Transformed(Elementwise):
    """Weights that are a function of those of an initializer that the user chooses."""

    initializer: Initializer

    @property
    def drawn(self) -> Initializer:
        return self.initializer

    def std(self, shape: Shape, axes: str | None = None) -> float:
        """Return nan: the standard deviation is not known."""
        return math.nan


@scheme("logarithm")
class Logarithm(Transformed):
    """Weights equal to factor * log(x), where another initializer draws positive numbers x.

    Each framework computes its own logarithm, so weights of two frameworks agree to 1e-6 of the largest weight, not bit
    for bit.

    Args:
        initializer: the initializer of x. Its least value must be above 0.
        factor: the factor of the logarithm, finite.

    Raises:
        TypeError: initializer is not an initializer, or factor is not a real number.
        ValueError: factor is not finite; when drawn, x may be 0 or less, or the dtype is complex.

    Example:
        >>> from initlib import logarithm, uniform
        >>> a_log = logarithm(uniform(1.0, 16.0))(24, seed=0)  # Mamba-2's A_log
        >>> bool((a_log >= 0).all() and (a_log <= 2.7726).all())
        True

    Reference:
        Dao, Gu. Transformers are SSMs. 2024. arXiv:2405.21060.
    """

    factor: float = 1.0

    def __post_init__(self) -> None:
        checked_initializer(self.initializer)
        set_fields(self, factor=real(self.factor, "factor"))

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        low, high = self.initializer.bounds(shape, axes)
        if low <= 0:
            raise ValueError(f"initializer of logarithm must draw weights above 0, got {self.initializer!r}")
        ends = self.factor * math.log(low), self.factor * (math.log(high) if math.isfinite(high) else high)
        return min(ends), max(ends)

    def check_request(self, request: DrawRequest) -> None:
        super().check_request(request)
        self.bounds(request.shape, request.axes)

    def apply(self, values: Any, request: DrawRequest, engine: Engine) -> Any:
        return engine.xp.log(values) * self.factor


@scheme("inverse_softplus")
class InverseSoftplus(Transformed):
    """Biases b whose softplus(b) = log(1 + exp(b)) equals the positive weights of another initializer.

    Args:
        initializer: the initializer of softplus(b).
        floor: the least value of softplus(b), above 0. Smaller weights become equal to the floor.

    Raises:
        TypeError: initializer is not an initializer, or floor is not a real number.
        ValueError: floor is not finite and above 0; when drawn, the dtype is complex.

    Example:
        >>> import numpy as np
        >>> from initlib import inverse_softplus, log_uniform
        >>> bias = inverse_softplus(log_uniform(1e-3, 0.1))(5, seed=0)
        >>> steps = np.log1p(np.exp(bias))
        >>> bool((steps > 0.99e-3).all() and (steps < 0.101).all())
        True

    Reference:
        Gu, Dao. Mamba: linear-time sequence modeling with selective state spaces. 2023. arXiv:2312.00752. The formula
        is from the authors' code.
    """

    floor: float = 1e-4

    def __post_init__(self) -> None:
        checked_initializer(self.initializer)
        set_fields(self, floor=positive(self.floor, "floor"))

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        low, high = (max(bound, self.floor) for bound in self.initializer.bounds(shape, axes))
        return _inverse(low), _inverse(high)

    def apply(self, values: Any, request: DrawRequest, engine: Engine) -> Any:
        values = values.clip(self.floor, math.inf)
        return values + engine.xp.log(-engine.xp.expm1(-values))


def _inverse(value: float) -> float:
    return value + math.log(-math.expm1(-value)) if math.isfinite(value) else value


log_uniform = LogUniform
inverse_softplus = InverseSoftplus
logarithm = Logarithm

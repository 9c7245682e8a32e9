"""Normal weights, whole or kept to any window."""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._arguments import Shape, positive, real
from .._public import public
from ..stream.distributions import MIN_MASS, normal_law, truncated_moments, window
from ..stream.engine import DrawRequest, Engine
from ..stream.law import Law
from ._complex import TwoParts
from ._constant import Constant
from ._uniform import SIGNED_UNIT
from .initializer import Initializer, set_fields
from .kinds import Elementwise, Independent

TRUNCATION = 2.0  # sigmas
KNOTS = 8193
FOLDS = 40.0  # how many times the density falls by e before the rest counts for nothing


@public("initlib", "normal")
@dataclass(repr=False, eq=False, init=False)
class Normal(Independent):
    """Weights of a normal distribution; of a complex weight both parts have the mean, and together the std.

    >>> from initlib import normal
    >>> normal(std=0.02)
    normal(mean=0.0, std=0.02)
    >>> normal(std=0.02)((2, 3), seed=0).shape
    (2, 3)

    Raises ValueError unless mean is finite, and std finite and at least 0.
    """

    mean: float
    sigma: float = field(metadata={"argument": "std"})  # `std` is a method of every initializer
    factory: ClassVar[str] = "normal"

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        set_fields(self, mean=real(mean, "mean"), sigma=positive(std, "std", or_zero=True))

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return self.sigma

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return -math.inf, math.inf

    def law(self, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
        return normal_law(self.mean, self.sigma, -math.inf, math.inf, dtype)

    def complex_weights(self, weight: DrawRequest, engine: Engine) -> Any:
        return TwoParts(Normal(self.mean, self.sigma / math.sqrt(2))).weights(weight, engine)


@public("initlib", "truncated_normal")
@dataclass(repr=False, eq=False, init=False)
class TruncatedNormal(Independent):
    """Weights of a normal distribution kept to [low, high], by default mean - 2 std to mean + 2 std.

    >>> from initlib import truncated_normal
    >>> truncated_normal(std=0.02)
    truncated_normal(mean=0.0, std=0.02, low=-0.04, high=0.04)
    >>> round(truncated_normal(std=0.02).std((784, 128)), 9)  # `std` is before truncation, as in PyTorch, JAX, Keras
    0.017592513
    >>> float(truncated_normal(low=6.0, high=7.0)(5, seed=0).min()) >= 6  # far out in a tail
    True

    The bounds are values, not multiples of std, and may be infinite. A window of less than 2**-12 of the normal's mass
    is drawn by interpolating its quantiles, to 1e-6 between engines. Raises ValueError unless std is at least 0,
    low <= high, and mean and std are finite.
    """

    mean: float
    sigma: float = field(metadata={"argument": "std"})
    low: float
    high: float
    factory: ClassVar[str] = "truncated_normal"

    def __init__(
        self, mean: float = 0.0, std: float = 1.0, low: float | None = None, high: float | None = None
    ) -> None:
        mean, std = real(mean, "mean"), positive(std, "std", or_zero=True)
        low = mean - TRUNCATION * std if low is None else real(low, "low", or_infinite=True)
        high = mean + TRUNCATION * std if high is None else real(high, "high", or_infinite=True)
        if low > high or low == math.inf or high == -math.inf:
            raise ValueError(f"low must not be above high, got low {low!r} and high {high!r}")
        set_fields(self, mean=mean, sigma=std, low=low, high=high)

    @lru_cache(maxsize=256)  # noqa: B019 - an initializer is immutable, and small
    def _other(self) -> Initializer | None:
        """What draws a window that the stream's quantile cannot resolve: a point, or one far out or narrow."""
        if self.sigma == 0 or self.low == self.high:
            return Constant(min(max(self.mean, self.low), self.high))
        if window(*self._window())[1] < MIN_MASS * 2**32:
            return FarWindow(self.mean, self.sigma, self.low, self.high)
        return None

    def _window(self) -> tuple[float, float]:
        """The bounds in sigmas."""
        return (self.low - self.mean) / self.sigma, (self.high - self.mean) / self.sigma

    def std(self, shape: Shape, axes: str | None = None) -> float:
        if self.sigma == 0 or self.low == self.high:
            return 0.0
        return self.sigma * truncated_moments(*self._window())[1]

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.low, self.high

    def law(self, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
        return normal_law(self.mean, self.sigma, self.low, self.high, dtype)

    def weights(self, weight: DrawRequest, engine: Engine) -> Any:
        other = self._other()
        return super().weights(weight, engine) if other is None else other.weights(weight, engine)

    def fill(self, out: Any, weight: DrawRequest, engine: Engine) -> None:
        other = self._other()
        super().fill(out, weight, engine) if other is None else other.fill(out, weight, engine)


@dataclass(repr=False, eq=False)
class FarWindow(Elementwise):
    """A normal distribution kept to a window of any mass, by interpolating its quantiles."""

    mean: float
    sigma: float
    low: float
    high: float
    factory: ClassVar[str] = "truncated_normal"

    @property
    def drawn(self) -> Initializer:
        return SIGNED_UNIT

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return TruncatedNormal(self.mean, self.sigma, self.low, self.high).std(shape, axes)

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.low, self.high

    def apply(self, values: Any, weight: DrawRequest, engine: Engine) -> Any:
        sigmas, mass = _knots((self.low - self.mean) / self.sigma, (self.high - self.mean) / self.sigma)
        dtype = engine.widest(weight.dtype)
        quantiles = engine.array(self.mean + self.sigma * sigmas, dtype)
        return engine.xp.interp(values, engine.array(2 * mass - 1, dtype), quantiles).clip(self.low, self.high)


@lru_cache(maxsize=64)
def _knots(low: float, high: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values across a window in sigmas, and the distribution function there of the normal that is kept to it."""
    mode = max(low, min(0.0, high))
    # Where (z**2 - mode**2) / 2 is FOLDS; as a sum, since the difference would cancel.
    reach = 2 * FOLDS / (abs(mode) + math.sqrt(mode * mode + 2 * FOLDS))
    z = np.linspace(max(low, mode - reach), min(high, mode + reach), KNOTS)
    density = np.exp((mode - z) * (mode + z) / 2)
    mass = np.append(0.0, np.cumsum(density[1:] + density[:-1]))
    return z, mass / mass[-1]


normal = Normal
truncated_normal = TruncatedNormal

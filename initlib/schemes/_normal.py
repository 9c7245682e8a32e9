"""Normal weights, also truncated to any window."""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._arguments import Shape, positive, real
from ..stream.distributions import MIN_MASS, normal_law, truncated_moments, window
from ..stream.engine import DrawRequest, Engine
from ..stream.law import Law
from ._complex import TwoParts
from ._constant import Constant
from ._uniform import SIGNED_UNIT
from .frozen import scheme, set_fields
from .initializer import Initializer
from .kinds import Elementwise, Independent

TRUNCATION = 2.0  # sigmas
KNOTS = 8193
FOLDS = 40.0  # the density beyond exp(-40) of its maximum is neglected


@scheme("normal", init=False)
class Normal(Independent):
    """Weights from the normal distribution with the given mean and std.

    The real and the imaginary part of a complex weight both have this mean, and the standard deviation std / sqrt(2).

    Args:
        mean: the mean, finite.
        std: the standard deviation, finite and at least 0.

    Raises:
        TypeError: mean or std is not a real number.
        ValueError: mean is not finite, or std is negative or not finite.

    Example:
        >>> from initlib import normal
        >>> normal(std=0.02)
        normal(mean=0.0, std=0.02)
        >>> normal(std=0.02)((2, 3), seed=0).shape
        (2, 3)
    """

    mean: float
    sigma: float = field(metadata={"argument": "std"})  # `std` is a method of every initializer

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        set_fields(self, mean=real(mean, "mean"), sigma=positive(std, "std", or_zero=True))

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return self.sigma

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return -math.inf, math.inf

    def law(self, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
        return normal_law(self.mean, self.sigma, -math.inf, math.inf, dtype)

    def without_law(self, request: DrawRequest) -> Initializer:
        return TwoParts(Normal(self.mean, self.sigma / math.sqrt(2)))


@scheme("truncated_normal", init=False)
class TruncatedNormal(Independent):
    """Weights of a normal distribution truncated to [low, high].

    A window with less than 2**-12 of the mass of the normal distribution is drawn by interpolating quantiles; engines
    then agree to 1e-6.

    Args:
        mean: mean before truncation, finite.
        std: standard deviation before truncation, as in PyTorch, JAX and Keras; finite and at least 0.
        low: least value, not a multiple of std; may be -inf. None is mean - 2 * std.
        high: greatest value, not a multiple of std; may be inf. None is mean + 2 * std.

    Raises:
        TypeError: an argument is not a real number.
        ValueError: mean or std is not finite, std is negative, or low is above high; when drawn, the dtype is complex.

    Example:
        >>> from initlib import truncated_normal
        >>> truncated_normal(std=0.02)
        truncated_normal(mean=0.0, std=0.02, low=-0.04, high=0.04)
        >>> round(truncated_normal(std=0.02).std((784, 128)), 9)
        0.017592513
        >>> float(truncated_normal(low=6.0, high=7.0)(5, seed=0).min()) >= 6  # far out in a tail
        True
    """

    mean: float
    sigma: float = field(metadata={"argument": "std"})
    low: float
    high: float

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
        """Return the initializer of a point, or of a window too far out or narrow for the quantile of the stream."""
        if self.sigma == 0 or self.low == self.high:
            return Constant(min(max(self.mean, self.low), self.high))
        if window(*self.window())[1] < MIN_MASS * 2**32:
            return FarWindow(self)
        return None

    def window(self) -> tuple[float, float]:
        """Return the bounds in sigmas."""
        return (self.low - self.mean) / self.sigma, (self.high - self.mean) / self.sigma

    def std(self, shape: Shape, axes: str | None = None) -> float:
        if self.sigma == 0 or self.low == self.high:
            return 0.0
        return self.sigma * truncated_moments(*self.window())[1]

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.low, self.high

    def law(self, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
        return normal_law(self.mean, self.sigma, self.low, self.high, dtype)

    def request_law(self, request: DrawRequest) -> Law | None:
        other = self._other()
        return super().request_law(request) if other is None else other.request_law(request)

    def without_law(self, request: DrawRequest) -> Initializer:
        return self._other() or super().without_law(request)


@dataclass(repr=False, eq=False)
class FarWindow(Elementwise):
    """Weights of a normal distribution truncated to a window of any mass, by interpolating quantiles."""

    initializer: TruncatedNormal
    factory: ClassVar[str] = "truncated_normal"

    @property
    def drawn(self) -> Initializer:
        return SIGNED_UNIT

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return self.initializer.std(shape, axes)

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.initializer.bounds(shape, axes)

    def apply(self, values: Any, request: DrawRequest, engine: Engine) -> Any:
        normal, dtype = self.initializer, engine.widest(request.dtype)
        sigmas, mass = _knots(*normal.window())
        quantiles = engine.array(normal.mean + normal.sigma * sigmas, dtype)
        return engine.xp.interp(values, engine.array(2 * mass - 1, dtype), quantiles).clip(normal.low, normal.high)


@lru_cache(maxsize=64)
def _knots(low: float, high: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return values across a window in sigmas, and the distribution function of the truncated normal there."""
    mode = max(low, min(0.0, high))
    # The reach where (z**2 - mode**2) / 2 is FOLDS; as a sum, because the difference would cancel.
    reach = 2 * FOLDS / (abs(mode) + math.sqrt(mode * mode + 2 * FOLDS))
    z = np.linspace(max(low, mode - reach), min(high, mode + reach), KNOTS)
    density = np.exp((mode - z) * (mode + z) / 2)
    mass = np.append(0.0, np.cumsum(density[1:] + density[:-1]))
    return z, mass / mass[-1]


normal = Normal
truncated_normal = TruncatedNormal

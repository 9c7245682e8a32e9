"""The schemes whose weights are drawn one by one, and the constants."""

import math
import warnings
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..axes import Shape, fans
from ..draws.distributions import normal_law, truncated_moments, uniform_law, window
from ..draws.stream import Law
from ..dtypes import rounded
from .initializer import Independent, Initializer, Weight, choice, positive, real, set_fields

__all__ = [
    "Constant",
    "Normal",
    "TruncatedNormal",
    "Uniform",
    "VarianceScaling",
    "constant",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
DISTRIBUTIONS = ("truncated_normal", "normal", "uniform")
TRUNCATION = 2.0  # sigmas
TRUNCATED_STD = 0.8796256610342398  # sqrt(1 - 4 phi(2) / erf(sqrt(2))), what is left of sigma = 1


@dataclass(repr=False, eq=False)
class VarianceScaling(Independent):
    """Weights of mean 0 and variance factor / fan: the general scheme behind Glorot, He and LeCun.

    >>> variance_scaling(2.0, "fan_in", "truncated_normal") == he_normal
    True
    >>> variance_scaling(1.0, "FAN_AVG", "uniform").bounds((300, 100))
    (-0.1224744871391589, 0.1224744871391589)

    `mode` is the fan that divides: fan_in, fan_out, fan_avg (their mean) or fan_geo_avg (their geometric mean).
    `distribution` is truncated_normal (cut at 2 sigma, and widened so that the variance is the one asked for), normal
    or uniform. Raises ValueError for another mode or distribution, or a factor that is negative or not finite.
    """

    factor: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"

    factory: ClassVar[str] = "variance_scaling"

    def __post_init__(self) -> None:
        set_fields(
            self,
            factor=positive(self.factor, "factor", or_zero=True),
            mode=choice(self.mode, "mode", MODES),
            distribution=choice(self.distribution, "distribution", DISTRIBUTIONS),
        )

    def std(self, shape: Shape, axes: str | None = None) -> float:
        fan_in, fan_out = fans(shape, axes)
        fan = {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2,
            "fan_geo_avg": math.sqrt(fan_in * fan_out),
        }[self.mode]
        if fan == 0:
            raise ValueError(f"{self.mode} of shape {shape} is 0, and factor is divided by it")
        return math.sqrt(self.factor / fan)

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        std = self.std(shape, axes)
        limit = {
            "truncated_normal": TRUNCATION * std / TRUNCATED_STD,
            "normal": math.inf,
            "uniform": math.sqrt(3) * std,
        }[self.distribution]
        return -limit, limit

    def law(self, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
        std = self.std(shape, axes)
        low, high = self.bounds(shape, axes)
        if self.distribution == "uniform":
            return uniform_law(low, high, dtype)
        underlying = std / TRUNCATED_STD if self.distribution == "truncated_normal" else std
        return normal_law(0.0, underlying, low, high, dtype)

    def _warn_of_no_weights(self, shape: tuple[int, ...]) -> None:
        warnings.warn(f"shape {shape} holds no weights: nothing is drawn", UserWarning, stacklevel=3)


@dataclass(repr=False, eq=False)
class Uniform(Independent):
    """Weights uniform between two bounds.

    >>> uniform(-0.05, 0.05).std((784, 128))
    0.02886751345948129

    Raises ValueError unless low <= high, both finite.
    """

    low: float = 0.0
    high: float = 1.0

    factory: ClassVar[str] = "uniform"

    def __post_init__(self) -> None:
        set_fields(self, low=real(self.low, "low"), high=real(self.high, "high"))
        if self.low > self.high:
            raise ValueError(f"low must not be above high, got low {self.low!r} and high {self.high!r}")

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return (self.high / 2 - self.low / 2) / math.sqrt(3)

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.low, self.high

    def law(self, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
        return uniform_law(self.low, self.high, dtype)


@dataclass(repr=False, eq=False)
class Normal(Independent):
    """Weights of a normal distribution: what `normal` makes."""

    mean: float
    sigma: float = field(metadata={"argument": "std"})
    factory: ClassVar[str] = "normal"

    def __post_init__(self) -> None:
        set_fields(self, mean=real(self.mean, "mean"), sigma=positive(self.sigma, "std", or_zero=True))

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return self.sigma

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return -math.inf, math.inf

    def law(self, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
        return normal_law(self.mean, self.sigma, -math.inf, math.inf, dtype)


def normal(mean: float = 0.0, std: float = 1.0) -> Normal:
    """Make the initializer of a normal distribution.

    >>> normal(std=0.02)
    normal(mean=0.0, std=0.02)
    >>> normal(std=0.02)((2, 3), seed=0).shape
    (2, 3)

    Raises ValueError unless mean is finite, and std finite and at least 0.
    """
    return Normal(mean, std)


@dataclass(repr=False, eq=False)
class TruncatedNormal(Independent):
    """Weights of a normal distribution kept to a window: what `truncated_normal` makes."""

    mean: float
    sigma: float = field(metadata={"argument": "std"})
    low: float
    high: float
    factory: ClassVar[str] = "truncated_normal"

    def __post_init__(self) -> None:
        set_fields(
            self,
            mean=real(self.mean, "mean"),
            sigma=positive(self.sigma, "std"),
            low=real(self.low, "low"),
            high=real(self.high, "high"),
        )
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got low {self.low!r} and high {self.high!r}")
        window(*self._window())

    def _window(self) -> tuple[float, float]:
        """The bounds in sigmas."""
        return (self.low - self.mean) / self.sigma, (self.high - self.mean) / self.sigma

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return self.sigma * truncated_moments(*self._window())[1]

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.low, self.high

    def law(self, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
        return normal_law(self.mean, self.sigma, self.low, self.high, dtype)


def truncated_normal(
    mean: float = 0.0, std: float = 1.0, low: float | None = None, high: float | None = None
) -> TruncatedNormal:
    """Make the initializer of a normal distribution kept to [low, high], by default mean - 2 std to mean + 2 std.

    >>> truncated_normal(std=0.02)
    truncated_normal(mean=0.0, std=0.02, low=-0.04, high=0.04)
    >>> round(truncated_normal(std=0.02).std((784, 128)), 9)  # `std` is before truncation, as in PyTorch, JAX, Keras
    0.017592513

    The bounds are values, not multiples of std. Raises ValueError unless std > 0, low < high, all are finite, and the
    window holds at least 2**-12 of the normal's mass.
    """
    mean, std = real(mean, "mean"), positive(std, "std")
    return TruncatedNormal(
        mean, std, mean - TRUNCATION * std if low is None else low, mean + TRUNCATION * std if high is None else high
    )


@dataclass(repr=False, eq=False)
class Constant(Initializer):
    """Weights that are all one value.

    >>> constant(0.5)((2, 2))
    array([[0.5, 0.5],
           [0.5, 0.5]], dtype=float32)
    """

    value: float = 0.0
    factory: ClassVar[str] = "constant"
    proportional_to: ClassVar[str | None] = "value"

    def __post_init__(self) -> None:
        set_fields(self, value=real(self.value, "value"))

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return 0.0

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.value, self.value

    def fill(self, out: NDArray[Any], weight: Weight) -> None:
        out[...] = rounded(np.array(self.value), weight.dtype)


variance_scaling = VarianceScaling
uniform = Uniform
constant = Constant

# He, Zhang, Ren, Sun 2015, arXiv 1502.01852: for relu.
he_normal = kaiming_normal = variance_scaling(2.0, "fan_in", "truncated_normal")
he_uniform = kaiming_uniform = variance_scaling(2.0, "fan_in", "uniform")
# Glorot, Bengio 2010 (AISTATS): for tanh and other functions of slope 1 at 0.
glorot_normal = xavier_normal = variance_scaling(1.0, "fan_avg", "truncated_normal")
glorot_uniform = xavier_uniform = variance_scaling(1.0, "fan_avg", "uniform")
# LeCun, Bottou, Orr, Müller 1998, Efficient BackProp; with selu: Klambauer et al. 2017, arXiv 1706.02515.
lecun_normal = variance_scaling(1.0, "fan_in", "truncated_normal")
lecun_uniform = variance_scaling(1.0, "fan_in", "uniform")

zeros = constant(0.0)
ones = constant(1.0)

"""Variance scaling: the general scheme, and Glorot's, He's and LeCun's as its presets."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .._arguments import Shape, choice, positive
from .._public import public
from ..axes import fans
from ..stream.distributions import normal_law, uniform_law
from ..stream.engine import DrawRequest, Engine
from ..stream.law import Law
from ._complex import on_the_plane
from ._normal import TRUNCATION, Normal
from ._uniform import SIGNED_UNIT
from .initializer import set_fields
from .kinds import Independent

MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
DISTRIBUTIONS = ("truncated_normal", "normal", "uniform")
TRUNCATED_STD = 0.8796256610342398  # sqrt(1 - 4 phi(2) / erf(sqrt(2))), what is left of sigma = 1


@public("initlib", "variance_scaling")
@dataclass(repr=False, eq=False, init=False)
class VarianceScaling(Independent):
    """Weights of mean 0 and variance factor / fan: the general scheme behind Glorot, He and LeCun.

    >>> from initlib import he_normal, variance_scaling
    >>> variance_scaling(2.0, "fan_in", "truncated_normal") == he_normal
    True
    >>> variance_scaling(1.0, "FAN_AVG", "uniform").bounds((300, 100))
    (-0.1224744871391589, 0.1224744871391589)

    `mode` is the fan that divides: fan_in, fan_out, fan_avg (their mean) or fan_geo_avg (their geometric mean).
    `distribution` is truncated_normal (cut at 2 sigma, and widened so that the variance is the one asked for), normal
    or uniform. Complex weights are of that variance too: normal on the plane, there cut at 2 sigma of the modulus, or
    uniform on a disk. Raises ValueError for another mode or distribution, or a factor that is negative or not finite.
    """

    factor: float
    mode: str
    distribution: str
    factory: ClassVar[str] = "variance_scaling"

    def __init__(
        self,
        factor: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        *,
        uniform: bool | None = None,
    ) -> None:
        if uniform is not None:  # as tf.contrib spelt it
            wanted = "uniform" if uniform else "truncated_normal"
            raise TypeError(f'uniform={uniform!r} is not an argument here: write distribution="{wanted}"')
        set_fields(
            self,
            factor=positive(factor, "factor", or_zero=True),
            mode=choice(mode, "mode", MODES),
            distribution=choice(distribution, "distribution", DISTRIBUTIONS),
        )

    @property
    def uses_fans(self) -> bool:
        return True

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

    def complex_weights(self, weight: DrawRequest, engine: Engine) -> Any:
        std = self.std(weight.shape, weight.axes)
        if self.distribution == "normal":
            return Normal(0.0, std).weights(weight, engine)

        def square(share: Any) -> Any:
            if self.distribution == "uniform":
                return 2 * share  # of the radius of a disk
            # The squared modulus of a normal is exponential; cut at c, its mean is 1 - c / (e**c - 1).
            cut = TRUNCATION**2
            return -engine.xp.log1p(math.expm1(-cut) * share) / (1 - cut / math.expm1(cut))

        return on_the_plane(square, SIGNED_UNIT, std, weight, engine)


variance_scaling = VarianceScaling

# He, Zhang, Ren, Sun 2015, arXiv 1502.01852: for relu.
he_normal = kaiming_normal = variance_scaling(2.0, "fan_in", "truncated_normal")
he_uniform = kaiming_uniform = variance_scaling(2.0, "fan_in", "uniform")
# Glorot, Bengio 2010 (AISTATS): for tanh and other functions of slope 1 at 0.
glorot_normal = xavier_normal = variance_scaling(1.0, "fan_avg", "truncated_normal")
glorot_uniform = xavier_uniform = variance_scaling(1.0, "fan_avg", "uniform")
# LeCun, Bottou, Orr, Müller 1998, Efficient BackProp; with selu: Klambauer et al. 2017, arXiv 1706.02515.
lecun_normal = variance_scaling(1.0, "fan_in", "truncated_normal")
lecun_uniform = variance_scaling(1.0, "fan_in", "uniform")

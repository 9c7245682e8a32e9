"""Variance scaling: the general scheme, and the presets of Glorot, He and LeCun."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .._arguments import Shape, choice, positive
from ..axes import fans
from ..stream.distributions import normal_law, uniform_law
from ..stream.engine import DrawRequest, Engine
from ..stream.law import Law
from ._complex import ANGLE, MODULUS, one_stream
from ._normal import TRUNCATION, Normal
from ._uniform import SIGNED_UNIT
from .frozen import scheme, set_fields
from .initializer import Initializer
from .kinds import Independent

MODES = ("fan_in", "fan_out", "fan_avg", "fan_geo_avg")
DISTRIBUTIONS = ("truncated_normal", "normal", "uniform")
TRUNCATED_STD = 0.8796256610342398  # sqrt(1 - 4 phi(2) / erf(sqrt(2))): the std of a unit normal after truncation


@scheme("variance_scaling", init=False)
class VarianceScaling(Independent):
    """Weights of mean 0 and variance factor / fan: the general scheme behind Glorot, He and LeCun.

    The presets are he_normal and he_uniform (factor 2, fan_in), glorot_normal and glorot_uniform (factor 1, fan_avg),
    lecun_normal and lecun_uniform (factor 1, fan_in). kaiming_* is he_*, and xavier_* is glorot_*. The normal presets
    are truncated. Complex weights have the same variance: normal on the plane (truncated at 2 sigma of the modulus),
    or uniform on a disk.

    Args:
        factor: factor of the variance, finite and at least 0.
        mode: the fan that divides: "fan_in", "fan_out", "fan_avg" (their mean) or "fan_geo_avg" (their geometric
            mean). fan_in keeps the variance of activations, and fan_out keeps the variance of gradients.
        distribution: "truncated_normal" (at 2 sigma, with sigma enlarged so that the variance is factor / fan),
            "normal" or "uniform".
        uniform: an argument of tf.contrib, and always an error here. Pass `distribution` in its place.

    Raises:
        TypeError: factor is not a real number, or uniform is given.
        ValueError: factor is negative or not finite, or mode or distribution is not allowed; when drawn, the fan is
            0.

    Example:
        >>> from initlib import he_normal, variance_scaling
        >>> variance_scaling(2.0, "fan_in", "truncated_normal") == he_normal
        True
        >>> variance_scaling(1.0, "FAN_AVG", "uniform").bounds((300, 100))
        (-0.1224744871391589, 0.1224744871391589)

    Reference:
        Glorot, Bengio. Understanding the difficulty of training deep feedforward neural networks. AISTATS 2010.
        He, Zhang, Ren, Sun. Delving deep into rectifiers. 2015. arXiv:1502.01852.
        LeCun, Bottou, Orr, Müller. Efficient backprop. 1998.
    """

    factor: float
    mode: str
    distribution: str

    def __init__(
        self,
        factor: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        *,
        uniform: bool | None = None,
    ) -> None:
        if uniform is not None:  # the argument of tf.contrib
            wanted = "uniform" if uniform else "truncated_normal"
            raise TypeError(f'uniform must not be given, got {uniform!r}. Write distribution="{wanted}"')
        set_fields(
            self,
            factor=positive(factor, "factor", or_zero=True),
            mode=choice(mode, "mode", MODES),
            distribution=choice(distribution, "distribution", DISTRIBUTIONS),
        )

    uses_fans = True

    def std(self, shape: Shape, axes: str | None = None) -> float:
        fan_in, fan_out = fans(shape, axes)
        fan = {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2,
            "fan_geo_avg": math.sqrt(fan_in * fan_out),
        }[self.mode]
        if fan == 0:
            raise ValueError(f"shape must have a {self.mode} above 0, got {shape}")
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

    def without_law(self, request: DrawRequest) -> Initializer:
        std = self.std(request.shape, request.axes)
        return Normal(0.0, std).without_law(request) if self.distribution == "normal" else OnThePlane(self, std)


@dataclass(repr=False, eq=False)
class OnThePlane(Initializer):
    """Complex weights of a std and any angle: a truncated normal on the plane, or uniform on a disk."""

    scheme: VarianceScaling
    sigma: float
    factory: ClassVar[str] = "variance_scaling"

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return self.sigma

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.scheme.bounds(shape, axes)

    def weights(self, request: DrawRequest, engine: Engine) -> Any:
        # From uniform numbers in (-1, 1): of mean 0, their bits are promised.
        xp, plain = engine.xp, request._replace(scale=1.0)
        share = (SIGNED_UNIT.weights(one_stream(plain, MODULUS, engine), engine) + 1) / 2
        if self.scheme.distribution == "uniform":
            square = 2 * share  # the squared modulus, of mean 1, on a disk
        else:
            # The squared modulus of a normal is exponential; cut at c, its mean is 1 - c / (e**c - 1).
            cut = TRUNCATION**2
            square = -xp.log1p(math.expm1(-cut) * share) / (1 - cut / math.expm1(cut))
        modulus = xp.sqrt(square) * (self.sigma * request.scale)
        angle = SIGNED_UNIT.weights(one_stream(plain, ANGLE, engine), engine) * math.pi
        return engine.complex(modulus * xp.cos(angle), modulus * xp.sin(angle))


variance_scaling = VarianceScaling

# For relu: He, Zhang, Ren, Sun. 2015.
he_normal = kaiming_normal = variance_scaling(2.0, "fan_in", "truncated_normal")
he_uniform = kaiming_uniform = variance_scaling(2.0, "fan_in", "uniform")
# For tanh and other functions of slope 1 at 0: Glorot, Bengio. 2010.
glorot_normal = xavier_normal = variance_scaling(1.0, "fan_avg", "truncated_normal")
glorot_uniform = xavier_uniform = variance_scaling(1.0, "fan_avg", "uniform")
# LeCun, Bottou, Orr, Müller. 1998. For selu: Klambauer et al. 2017. arXiv:1706.02515.
lecun_normal = variance_scaling(1.0, "fan_in", "truncated_normal")
lecun_uniform = variance_scaling(1.0, "fan_in", "uniform")

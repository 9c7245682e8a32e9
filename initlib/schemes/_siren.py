"""SIREN: weights of networks with sine activations."""

import math

from .._arguments import Shape, positive
from ..axes import fans
from ..stream.distributions import uniform_law
from ..stream.law import Law
from .frozen import scheme, set_fields
from .kinds import Independent


@scheme("siren")
class Siren(Independent):
    """Weights of a layer sin(w0 * (W x + b)), uniform in [-limit, limit].

    limit = sqrt(6 / fan_in) / w0, or 1 / fan_in in the first layer.

    Args:
        w0: frequency of the sine, above 0.
        first: True for the first layer of the network.

    Raises:
        TypeError: w0 is not a real number, or first is not a bool.
        ValueError: w0 is not finite and above 0; when drawn, fan_in is 0 or the dtype is complex.

    Example:
        >>> siren(first=True).bounds((2, 256))
        (-0.5, 0.5)
        >>> round(siren().bounds((256, 256))[1], 9)
        0.005103104

    Reference:
        Sitzmann, Martel, Bergman, Lindell, Wetzstein. Implicit neural representations with periodic activation
        functions. 2020. arXiv:2006.09661.
    """

    w0: float = 30.0
    first: bool = False

    def __post_init__(self) -> None:
        set_fields(self, w0=positive(self.w0, "w0"))
        if not isinstance(self.first, bool):
            raise TypeError(f"first must be True or False, got {self.first!r}")

    uses_fans = True

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return self.bounds(shape, axes)[1] / math.sqrt(3)

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        fan_in, _ = fans(shape, axes)
        if fan_in == 0:
            raise ValueError(f"shape must have a fan_in above 0 for siren, got {shape}")
        limit = 1 / fan_in if self.first else math.sqrt(6 / fan_in) / self.w0
        return -limit, limit

    def law(self, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
        return uniform_law(*self.bounds(shape, axes), dtype)


siren = Siren

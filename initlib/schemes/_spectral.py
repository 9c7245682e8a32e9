"""Weights with a given spectral norm."""

import math

from .._arguments import Shape, positive
from ..stream.distributions import normal_law
from ..stream.law import Law
from .frozen import scheme, set_fields
from .kinds import Independent, matrices


@scheme("spectral", proportional_to="gain")
class Spectral(Independent):
    """Normal weights whose matrix, from n inputs to m outputs, has the spectral norm gain * sqrt(m / n).

    With this norm, networks of every width learn features at the same scale. n is inputs x receptive field. The weights
    are independent, with std = gain * sqrt(m / n) / (sqrt(n) + sqrt(m)). A normal matrix of std 1 has a norm of
    sqrt(n) + sqrt(m), to a few percent for n and m above 100. The std of the paper is
    gain / sqrt(n) * min(1, sqrt(m / n)). The std of this initializer is from 1/2 to 1 times the std of the paper.

    Args:
        gain: factor of the norm, at least 0.

    Raises:
        TypeError: gain is not a real number.
        ValueError: gain is negative or not finite; when drawn, the weight has fewer than 2 axes, or the dtype is
            complex.

    Example:
        >>> import numpy as np
        >>> weight = spectral()((512, 2048), seed=0)
        >>> round(float(np.linalg.norm(weight, 2)), 1)  # sqrt(2048 / 512)
        2.0

    Reference:
        Yang, Simon, Bernstein. A spectral condition for feature learning. 2023. arXiv:2310.17813.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        set_fields(self, gain=positive(self.gain, "gain", or_zero=True))

    uses_fans = True

    def std(self, shape: Shape, axes: str | None = None) -> float:
        _, rows, columns = matrices(self, shape, axes).matrices
        if rows == 0 or columns == 0:
            raise ValueError(f"shape must have inputs and outputs for spectral, got {shape}")
        return self.gain * math.sqrt(columns / rows) / (math.sqrt(rows) + math.sqrt(columns))

    def law(self, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
        return normal_law(0.0, self.std(shape, axes), -math.inf, math.inf, dtype)


spectral = Spectral

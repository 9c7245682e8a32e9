"""Weights that are a multiple of the logarithm of another initializer's weights."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .._arguments import Shape, real
from .._public import public
from ..stream.engine import DrawRequest, Engine
from .frozen import set_fields
from .initializer import Initializer, checked_initializer
from .kinds import Elementwise


@public("initlib", "logarithm")
@dataclass(repr=False, eq=False)
class Logarithm(Elementwise):
    """Weights factor * log(x), where another initializer draws the positive x.

    Each array library computes its own logarithm, so engines agree to 1e-6.

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

    initializer: Initializer
    factor: float = 1.0
    factory: ClassVar[str] = "logarithm"

    def __post_init__(self) -> None:
        checked_initializer(self.initializer)
        set_fields(self, factor=real(self.factor, "factor"))

    @property
    def drawn(self) -> Initializer:
        return self.initializer

    def std(self, shape: Shape, axes: str | None = None) -> float:
        """Return nan: the standard deviation is not known."""
        return math.nan

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        low, high = self.initializer.bounds(shape, axes)
        if low <= 0:
            raise ValueError(f"initializer of logarithm must give weights above 0, got {self.initializer!r}")
        ends = self.factor * math.log(low), self.factor * (math.log(high) if math.isfinite(high) else high)
        return min(ends), max(ends)

    def check_request(self, request: DrawRequest) -> None:
        super().check_request(request)
        self.bounds(request.shape, request.axes)

    def apply(self, values: Any, request: DrawRequest, engine: Engine) -> Any:
        return engine.xp.log(values) * self.factor


logarithm = Logarithm

"""Any initializer times a factor: depth, width and residual scaling."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..axes import Shape
from ..draws.distributions import clamped_law
from ..draws.stream import Law
from .composed import Composed, Engine
from .initializer import Independent, Initializer, positive

__all__ = ["scaled"]


@dataclass(repr=False, eq=False)
class _Scaled(Initializer):
    initializer: Any
    factor: float
    factory: ClassVar[str] = "scaled"
    proportional_to: ClassVar[str | None] = "factor"

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return float(self.initializer.std(shape, axes) * self.factor)

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        if self.factor == 0:
            return 0.0, 0.0  # not 0 * inf
        low, high = self.initializer.bounds(shape, axes)
        return low * self.factor, high * self.factor


class ScaledIndependent(_Scaled, Independent):
    """A pointwise initializer times a factor: rounded once, as if its law had been made of that scale."""

    def law(self, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
        exact = self.initializer.law(shape, axes, "float64")
        low, high = self.bounds(shape, axes)
        return clamped_law(exact.window, exact.scale * self.factor, exact.mean * self.factor, low, high, dtype)


class ScaledComposed(_Scaled, Composed):
    """A composed initializer times a factor."""

    def compose(self, shape: tuple[int, ...], axes: str | None, dtype: str, engine: Engine) -> Any:
        return self.initializer.compose(shape, axes, dtype, engine) * self.factor


def scaled(initializer: Initializer, factor: float) -> Initializer:
    """Multiply the weights of an initializer by a factor; `initializer * factor` is the same.

    >>> from initlib import glorot_normal, he_normal, normal, orthogonal
    >>> layers, width_multiplier = 12, 4
    >>> (normal(std=0.02) * (2 * layers) ** -0.5).std((768, 768))  # GPT-2's residual outputs
    0.004082482904638631
    >>> deepnorm = glorot_normal * (8 * layers) ** -0.25  # of values, outputs and feed-forward: arXiv 2203.00555
    >>> fixup = he_normal * layers**-0.5  # of branches of m = 2 layers, layers**(-1 / (2 m - 2)): arXiv 1901.09321
    >>> mup_hidden = normal(std=0.02) * width_multiplier**-0.5  # arXiv 2203.03466
    >>> mup_readout = normal(std=0.02) * (1 / width_multiplier)
    >>> orthogonal() * 0.5
    orthogonal(gain=0.5)

    Each weight is rounded once, after the factor. Raises TypeError for what is no initializer; ValueError unless the
    factor is finite and at least 0 (a sign is no scale).
    """
    if not isinstance(initializer, Initializer):
        raise TypeError(f"initializer must be an initlib initializer, got {initializer!r}")
    factor = positive(factor, "factor", or_zero=True)
    field = initializer.proportional_to
    if field is not None:
        return replace(initializer, **{field: getattr(initializer, field) * factor})  # type: ignore[type-var]
    if isinstance(initializer, Independent):
        return ScaledIndependent(initializer, factor)
    if isinstance(initializer, Composed):
        return ScaledComposed(initializer, factor)
    raise TypeError(f"initializer must be one that can be scaled, got {initializer!r}")

"""Sparse weights: a fixed number of zeros for each input."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..axes import Shape
from .composed import Composed, Engine, matrices, wide
from .initializer import positive, real, set_fields
from .variance import normal, uniform

__all__ = ["Sparse", "sparse"]

_RANKS = uniform(-1.0, 1.0)


@dataclass(repr=False, eq=False)
class Sparse(Composed):
    """Normal weights of which, for each input, a share are 0: what `sparse` makes."""

    sparsity: float
    sigma: float = field(default=0.01, metadata={"argument": "std"})
    factory: ClassVar[str] = "sparse"
    proportional_to: ClassVar[str | None] = "sigma"

    def __post_init__(self) -> None:
        set_fields(self, sparsity=real(self.sparsity, "sparsity"), sigma=positive(self.sigma, "std", or_zero=True))
        if not 0 <= self.sparsity <= 1:
            raise ValueError(f"sparsity must be at least 0 and at most 1, got {self.sparsity!r}")

    def _zeros(self, outputs: int) -> int:
        return math.ceil(self.sparsity * outputs)

    def std(self, shape: Shape, axes: str | None = None) -> float:
        _, _, outputs = matrices(self, shape, axes).matrices
        return self.sigma * math.sqrt(1 - self._zeros(outputs) / max(1, outputs))

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return -math.inf, math.inf

    def compose(self, shape: tuple[int, ...], axes: str | None, dtype: str, engine: Engine) -> Any:
        weight, xp = matrices(self, shape, axes), engine.xp
        sizes = weight.matrices
        values = engine.draw(normal(0.0, self.sigma), sizes, wide(dtype))
        zeros = self._zeros(sizes[2])
        if zeros == 0:
            return weight.store(values)
        # The zeros are where the smallest ranks of a row fall; equal ranks go to the lower index.
        ranks = engine.draw(_RANKS, sizes, "float32", "mask")
        last = xp.sort(ranks, axis=2)[:, :, zeros - 1 : zeros]
        below, equal = ranks < last, ranks == last
        room = zeros - below.sum(axis=2, keepdims=True)
        dropped = below | (equal & (equal.cumsum(axis=2, dtype="int32") <= room))
        return weight.store(xp.where(dropped, xp.zeros((), values.dtype), values))


def sparse(sparsity: float, std: float = 0.01) -> Sparse:
    """Make the initializer of normal weights of which each input's have ceil(sparsity * outputs) zeros.

    >>> weight = sparse(0.9)((50, 20), seed=0)
    >>> (weight == 0).sum(axis=1).tolist() == [18] * 50
    True

    The inputs are each position of the receptive field and each input channel; `std` is that of the other weights.
    Which weights are 0 follows from the key too. A box (`index=`) costs the whole. Raises ValueError unless
    0 <= sparsity <= 1 and std >= 0, or for fewer than 2 axes.
    Martens 2010, Deep learning via Hessian-free optimization.
    """
    return Sparse(sparsity, std)

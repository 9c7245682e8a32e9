"""Sparse weights: a fixed number of zeros for each input."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..arguments import Shape, positive, real
from ..draws.engine import Engine, Weight
from ..dtypes import DTYPES
from .initializer import set_fields
from .kinds import Composed, matrices
from .normal import normal
from .uniform import SIGNED_UNIT

__all__ = ["Sparse", "sparse"]


@dataclass(repr=False, eq=False, init=False)
class Sparse(Composed):
    """Normal weights of which each input's have ceil(sparsity * outputs) zeros.

    >>> from initlib import sparse
    >>> weight = sparse(0.9)((50, 20), seed=0)
    >>> (weight == 0).sum(axis=1).tolist() == [18] * 50
    True

    The inputs are each position of the receptive field and each input channel; `std` is that of the other weights.
    Which weights are 0 follows from the key too. A box (`index=`) costs the whole, which takes 4 times the weight's
    memory on the way. Raises ValueError unless 0 <= sparsity <= 1 and std >= 0, or for fewer than 2 axes.
    Martens 2010, Deep learning via Hessian-free optimization.
    """

    sparsity: float
    sigma: float = field(metadata={"argument": "std"})
    factory: ClassVar[str] = "sparse"
    proportional_to: ClassVar[str | None] = "std"

    def __init__(self, sparsity: float, std: float = 0.01) -> None:
        set_fields(self, sparsity=real(sparsity, "sparsity"), sigma=positive(std, "std", or_zero=True))
        if not 0 <= self.sparsity <= 1:
            raise ValueError(f"sparsity must be at least 0 and at most 1, got {self.sparsity!r}")

    def _zeros(self, outputs: int) -> int:
        return math.ceil(self.sparsity * outputs)

    def std(self, shape: Shape, axes: str | None = None) -> float:
        _, _, outputs = matrices(self, shape, axes).matrices
        return self.sigma * math.sqrt(1 - self._zeros(outputs) / max(1, outputs))

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return -math.inf, math.inf

    def compose(self, weight: Weight, engine: Engine) -> Any:
        kernel, xp = matrices(self, weight.shape, weight.axes), engine.xp
        sizes = kernel.matrices
        drawn = Weight(sizes, None, DTYPES[weight.dtype].wide, weight.key)
        values = normal(0.0, self.sigma).weights(drawn, engine)
        zeros = self._zeros(sizes[2])
        if zeros == 0:
            return kernel.store(values, xp)
        # The zeros are where the smallest ranks of a row fall; equal ranks go to the lower index.
        mask = drawn._replace(dtype="float32", key=engine.fold_in(weight.key, "mask"))
        ranks = SIGNED_UNIT.weights(mask, engine)
        last = xp.sort(ranks, axis=2)[:, :, zeros - 1 : zeros]
        below, equal = ranks < last, ranks == last
        room = zeros - below.sum(axis=2, keepdims=True)
        dropped = below | (equal & (xp.cumsum(engine.cast(equal, "int32"), axis=2) <= room))
        return kernel.store(xp.where(dropped, 0.0, values), xp)


sparse = Sparse

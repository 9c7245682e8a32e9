"""Sparse weights: a fixed number of zeros for each input."""

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .._arguments import Shape, positive, real
from .._public import public
from ..dtypes import DTYPES
from ..stream.boxes import Part
from ..stream.engine import DrawRequest, Engine
from ._normal import normal
from ._uniform import SIGNED_UNIT
from .initializer import set_fields
from .kinds import Composed, matrices


@public("initlib", "sparse")
@dataclass(repr=False, eq=False, init=False)
class Sparse(Composed):
    """Normal weights of which each input's have ceil(sparsity * outputs) zeros.

    >>> from initlib import sparse
    >>> weight = sparse(0.9)((50, 20), seed=0)
    >>> (weight == 0).sum(axis=1).tolist() == [18] * 50
    True

    The inputs are each position of the receptive field and each input channel; `std` is that of the other weights.
    Which weights are 0 follows from the key too. A box (`index=`) costs the whole, which takes twice the weight's
    memory on the way, in float32 at least. Raises ValueError unless 0 <= sparsity <= 1 and std >= 0, or for fewer than
    2 axes.
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

    def compose(self, weight: DrawRequest, engine: Engine) -> Any:
        kernel = matrices(self, weight.shape, weight.axes)
        stacks, rows, outputs = kernel.matrices
        inputs = stacks * rows
        drawn = DrawRequest((inputs, outputs), None, DTYPES[weight.dtype].wide, weight.key)
        # Some inputs at a time, so that little is held on the way.
        count = max(1, engine.piece // max(1, outputs))
        boxes = [(Part(k, 1, min(count, inputs - k)), Part(0, 1, outputs)) for k in range(0, inputs, count)]
        values = [self._of_inputs(drawn._replace(box=box), engine) for box in boxes]
        return kernel.store(values[0] if len(values) == 1 else engine.xp.concatenate(values), engine.xp)

    def _of_inputs(self, drawn: DrawRequest, engine: Engine) -> Any:
        """The weights of some inputs, each a row."""
        xp, zeros = engine.xp, self._zeros(drawn.shape[1])
        values = normal(0.0, self.sigma).weights(drawn, engine)
        if zeros == 0:
            return values
        # The zeros are where the smallest ranks of a row fall; equal ranks go to the lower index.
        mask = drawn._replace(dtype="float32", key=engine.fold_in(drawn.key, "mask"))
        ranks = SIGNED_UNIT.weights(mask, engine)
        last = xp.sort(ranks, axis=1)[:, zeros - 1 : zeros]
        below, equal = ranks < last, ranks == last
        room = zeros - below.sum(axis=1, keepdims=True)
        dropped = below | (equal & (xp.cumsum(engine.cast(equal, "int32"), axis=1) <= room))
        return xp.where(dropped, 0.0, values)


sparse = Sparse

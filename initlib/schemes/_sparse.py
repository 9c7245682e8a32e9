"""Sparse weights: a fixed number of zeros for each input."""

import math
from dataclasses import field
from typing import Any

from .._arguments import Shape, positive, real
from ..dtypes import DTYPES
from ..stream.boxes import Part
from ..stream.engine import DrawRequest, Engine
from ._normal import normal
from ._uniform import SIGNED_UNIT
from .frozen import scheme, set_fields
from .kinds import Composed, matrices


@scheme("sparse", init=False, proportional_to="std")
class Sparse(Composed):
    """Normal weights with ceil(sparsity * outputs) zeros for each input.

    Here an input is one position of the receptive field of one input channel. The places of the zeros depend on the
    seed and the name. A box (`index=`) costs a full draw. A full draw needs twice the memory of the weight in float32
    (or in float64, for a float64 weight).

    Args:
        sparsity: share of zeros, from 0 to 1.
        std: standard deviation of the other weights, at least 0.

    Raises:
        TypeError: sparsity or std is not a real number.
        ValueError: sparsity or std is out of range; when drawn, the weight has fewer than 2 axes.

    Example:
        >>> from initlib import sparse
        >>> weight = sparse(0.9)((50, 20), seed=0)
        >>> (weight == 0).sum(axis=1).tolist() == [18] * 50
        True

    Reference:
        Martens. Deep learning via Hessian-free optimization. ICML 2010.
    """

    sparsity: float
    sigma: float = field(metadata={"argument": "std"})

    def __init__(self, sparsity: float, std: float = 0.01) -> None:
        set_fields(self, sparsity=real(sparsity, "sparsity"), sigma=positive(std, "std", or_zero=True))
        if not 0 <= self.sparsity <= 1:
            raise ValueError(f"sparsity must be at least 0 and at most 1, got {self.sparsity!r}")

    def _zeros(self, outputs: int) -> int:
        return math.ceil(self.sparsity * outputs)

    def std(self, shape: Shape, axes: str | None = None) -> float:
        _, _, outputs = matrices(self, shape, axes).matrices
        return self.sigma * math.sqrt(1 - self._zeros(outputs) / max(1, outputs))

    def check_request(self, request: DrawRequest) -> None:
        normal(0.0, self.sigma).check_request(self._rows(request))

    def _rows(self, request: DrawRequest) -> DrawRequest:
        """Return the request of the normal weights, one row for each input."""
        stacks, rows, outputs = matrices(self, request.shape, request.axes).matrices
        return DrawRequest((stacks * rows, outputs), None, DTYPES[request.dtype].wide, request.key)

    def compose(self, request: DrawRequest, engine: Engine) -> Any:
        drawn = self._rows(request)
        inputs, outputs = drawn.shape
        # Some inputs at a time, to bound the memory.
        count = max(1, engine.piece // max(1, outputs))
        boxes = [(Part(k, 1, min(count, inputs - k)), Part(0, 1, outputs)) for k in range(0, inputs, count)]
        values = [self._of_inputs(drawn._replace(box=box), engine) for box in boxes]
        kernel = matrices(self, request.shape, request.axes)
        return kernel.store(values[0] if len(values) == 1 else engine.xp.concatenate(values), engine.xp)

    def _of_inputs(self, drawn: DrawRequest, engine: Engine) -> Any:
        """Return the weights of some inputs, each a row."""
        xp, zeros = engine.xp, self._zeros(drawn.shape[1])
        values = normal(0.0, self.sigma).weights(drawn, engine)
        if zeros == 0:
            return values
        # The smallest ranks of a row become zeros; of equal ranks, the lower index first.
        mask = drawn._replace(dtype="float32", key=engine.fold_in(drawn.key, "mask"))
        ranks = SIGNED_UNIT.weights(mask, engine)
        last = xp.sort(ranks, axis=1)[:, zeros - 1 : zeros]
        below, equal = ranks < last, ranks == last
        room = zeros - below.sum(axis=1, keepdims=True)
        dropped = below | (equal & (xp.cumsum(engine.cast(equal, "int32"), axis=1) <= room))
        return xp.where(dropped, 0.0, values)


sparse = Sparse

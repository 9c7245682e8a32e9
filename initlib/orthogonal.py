"""Orthogonal weights: of a matrix, and at the centre of a kernel."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .axes import Shape
from .base import Composed, Engine, matrices, real, set_fields, wide
from .initializers import normal

__all__ = ["DeltaOrthogonal", "Orthogonal", "delta_orthogonal", "orthogonal"]

_NOISE = normal()


def haar(stacks: int, rows: int, columns: int, dtype: str, engine: Engine) -> Any:
    """Matrices with orthonormal columns, or rows where these are fewer, uniformly distributed over all such."""
    xp = engine.xp
    noise = engine.draw(_NOISE, (stacks, rows, columns), wide(dtype))
    tall = rows >= columns
    q, r = xp.linalg.qr(noise if tall else xp.swapaxes(noise, 1, 2))
    # Without the signs of R's diagonal the distribution is LAPACK's own (Mezzadri 2007, arXiv math-ph/0609050).
    q = q * xp.where(xp.diagonal(r, axis1=1, axis2=2) < 0, -1, 1).astype(q.dtype)[:, None, :]
    return q if tall else xp.swapaxes(q, 1, 2)


@dataclass(frozen=True, repr=False)
class Orthogonal(Composed):
    """Weights that as a matrix of receptive field x inputs to outputs are orthogonal, times the gain.

    >>> import numpy as np
    >>> weight = orthogonal()((256, 64), "float64", seed=0)
    >>> bool(np.allclose(weight.T @ weight, np.eye(64), atol=1e-12))
    True
    >>> orthogonal(gain=2**0.5)((64, 32, 3, 3), axes="OIHW", seed=0).shape  # 288 x 64: orthonormal columns, times gain
    (64, 32, 3, 3)

    The matrix is uniformly distributed (Haar): Q of the QR of a normal draw, with the signs of R's diagonal moved into
    Q. Each stack (`B`, and n in `(n O)`) is a matrix of its own. It is computed in float64, whatever the dtype. A box
    of it (`index=`) costs the whole. Raises ValueError for fewer than 2 axes.
    Saxe, McClelland, Ganguli 2013, arXiv 1312.6120.
    """

    gain: float = 1.0
    factory: ClassVar[str] = "orthogonal"
    proportional_to: ClassVar[str | None] = "gain"

    def __post_init__(self) -> None:
        set_fields(self, gain=real(self.gain, "gain"))

    def std(self, shape: Shape, axes: str | None = None) -> float:
        _, rows, columns = matrices(self, shape, axes).matrices
        return abs(self.gain) / math.sqrt(max(rows, columns, 1))

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return -abs(self.gain), abs(self.gain)

    def compose(self, shape: tuple[int, ...], axes: str | None, dtype: str, engine: Engine) -> Any:
        weight = matrices(self, shape, axes)
        return weight.store(haar(*weight.matrices, dtype, engine) * self.gain)


@dataclass(frozen=True, repr=False)
class DeltaOrthogonal(Composed):
    """Kernels that are an orthogonal matrix of inputs to outputs at their centre, times the gain, and 0 elsewhere.

    >>> kernel = delta_orthogonal()((3, 3, 16, 32), seed=0)
    >>> int((kernel != 0).sum()) == 16 * 32
    True

    A convolution by it keeps the norm of every position's channels, times the gain. The centre of k positions is
    (k - 1) // 2, as in JAX: what "same" padding needs in JAX, Keras and PyTorch. Raises ValueError for more inputs
    than outputs, or fewer than 2 axes. A box of it (`index=`) costs the whole matrix.
    Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington 2018, arXiv 1806.05393.
    """

    gain: float = 1.0
    factory: ClassVar[str] = "delta_orthogonal"
    proportional_to: ClassVar[str | None] = "gain"

    def __post_init__(self) -> None:
        set_fields(self, gain=real(self.gain, "gain"))

    def std(self, shape: Shape, axes: str | None = None) -> float:
        weight = matrices(self, shape, axes)
        return abs(self.gain) / math.sqrt(max(1, math.prod(weight.field) * math.prod(weight.outputs)))

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return -abs(self.gain), abs(self.gain)

    def compose(self, shape: tuple[int, ...], axes: str | None, dtype: str, engine: Engine) -> Any:
        weight = matrices(self, shape, axes)
        stacks, inputs, outputs = (math.prod(sizes) for sizes in (weight.stacks, weight.inputs, weight.outputs))
        if inputs > outputs:
            raise ValueError(
                f"delta_orthogonal needs at least as many outputs as inputs, got {inputs} inputs and {outputs} outputs "
                f"(shape {shape}, axes {axes!r})"
            )
        centre = 0
        for size in weight.field:
            centre = centre * size + (size - 1) // 2
        xp = engine.xp
        matrix = haar(stacks, inputs, outputs, dtype, engine) * self.gain
        there = (xp.arange(math.prod(weight.field)) == centre)[:, None, None]
        return weight.store(xp.where(there, matrix[:, None], xp.zeros((), matrix.dtype)))


orthogonal = Orthogonal
delta_orthogonal = DeltaOrthogonal

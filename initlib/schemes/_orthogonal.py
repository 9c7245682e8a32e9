"""Orthogonal weights: of a matrix, and at the centre of a kernel."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .._arguments import Shape, real
from .._public import public
from ..axes import Canonical
from ..stream.boxes import Part
from ..stream.engine import DrawRequest, Engine
from ._normal import normal
from .initializer import set_fields
from .kinds import Composed, matrices

_NOISE = normal()
BLOCK = 64  # reflections that are applied at once


def haar(stacks: int, rows: int, columns: int, gain: float, weight: DrawRequest, engine: Engine) -> Any:
    """Matrices with orthonormal columns, or rows where these are fewer, uniform over all such, times the gain."""
    xp, dtype = engine.xp, engine.widest(weight.dtype)
    tall = (stacks, max(rows, columns), min(rows, columns))
    noise = DrawRequest(tall, None, dtype, weight.key)
    # A piece at a time: what many matrices take on the way is no more than what a few take.
    count = max(1, min(stacks, engine.piece // max(1, rows * columns)))
    whole = [Part(0, 1, size) for size in tall[1:]]
    pieces = [noise._replace(box=(Part(k, 1, min(count, stacks - k)), *whole)) for k in range(0, stacks, count)]
    matrices = [reflected(_NOISE.weights(piece, engine), dtype, engine) for piece in pieces]
    q = matrices[0] if len(matrices) == 1 else xp.concatenate(matrices)
    q *= gain
    return q if rows >= columns else xp.swapaxes(q, 1, 2)


def reflected(noise: Any, dtype: str, engine: Engine, size: int = BLOCK) -> Any:
    """The Q of Householder's QR, signs included, of a normal matrix whose k-th reflection is column k of the noise.

    What a reflection leaves of a normal matrix is normal, and independent of it: so the reflections can be drawn
    (Stewart 1980), which spares the factorization and its sensitivity: in float32 Q is right to 1e-6, not to the
    condition number times that. The signs are those of R's diagonal, without which Q is not uniform (Mezzadri 2007).
    """
    xp = engine.xp
    stacks, rows, columns = noise.shape
    head = xp.diagonal(noise, 0, 1, 2)
    sign = xp.where(head == 0, 1, xp.sign(head))  # of complex noise, the phase
    size_of_head = abs(head)
    del head  # a view, which would keep the noise as it was
    noise = xp.tril(noise)  # reflection k leaves the first k axes alone
    norm = xp.sqrt((abs(noise) ** 2).sum(axis=1))
    square = norm * (norm + size_of_head)  # half of that of v, below
    square = engine.cast(xp.where(square == 0, 1, square), dtype)
    eye = _eye(rows, columns, dtype, engine)
    # Where arrays can be changed, this changes them: at most three of the matrix's size exist at a time.
    v = noise
    v += eye * (sign * engine.cast(norm, dtype))[:, None, :]
    q = eye if stacks == 1 else xp.concatenate([eye] * stacks)
    del noise, eye

    def apply(v: Any, square: Any, q: Any) -> Any:
        # A block of reflections is 1 - V T V', with T's inverse the upper triangle of V'V, its diagonal halved
        # (Puglisi 1992).
        adjoint = xp.swapaxes(v, 1, 2).conj()
        diagonal = _eye(v.shape[2], v.shape[2], dtype, engine) * square[:, None, :]
        t = engine.inverse(xp.triu(adjoint @ v, 1) + diagonal)
        return v @ (t @ (adjoint @ q))

    q = engine.reflect(q, v, square, size, apply)
    q *= -sign[:, None, :]
    return q


def _eye(rows: int, columns: int, dtype: str, engine: Engine) -> Any:
    """An identity as a stack of one matrix."""
    sizes = (1, rows, columns)
    down, across = (engine.index(Part(0, 1, sizes[axis]), axis, sizes) for axis in (1, 2))
    return engine.cast(down == across, dtype)


@public("initlib", "orthogonal")
@dataclass(repr=False, eq=False)
class Orthogonal(Composed):
    """Weights that as a matrix of receptive field x inputs to outputs are orthogonal, times the gain.

    >>> import numpy as np
    >>> weight = orthogonal()((256, 64), "float64", seed=0)
    >>> bool(np.allclose(weight.T @ weight, np.eye(64), atol=1e-12))
    True
    >>> orthogonal(gain=2**0.5)((64, 32, 3, 3), axes="OIHW", seed=0).shape  # 288 x 64: orthonormal columns, times gain
    (64, 32, 3, 3)

    The matrix is uniformly distributed (Haar): the Q of the QR of a normal matrix, with the signs of R's diagonal moved
    into it. Each stack (`B`, and n in `(n O)`) is a matrix of its own. It is made in float64, whatever the dtype, which
    takes three matrices of float64 on the way: of a float32 weight 6 times its memory, of a 16-bit one 12 times. A box
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

    def compose(self, weight: DrawRequest, engine: Engine) -> Any:
        kernel = matrices(self, weight.shape, weight.axes)
        return kernel.store(haar(*kernel.matrices, self.gain, weight, engine), engine.xp)


@public("initlib", "delta_orthogonal")
@dataclass(repr=False, eq=False)
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
        weight = self._parts(shape, axes)
        return abs(self.gain) / math.sqrt(max(1, math.prod(weight.field) * math.prod(weight.outputs)))

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return -abs(self.gain), abs(self.gain)

    def compose(self, weight: DrawRequest, engine: Engine) -> Any:
        kernel = self._parts(weight.shape, weight.axes)
        centre = 0
        for size in kernel.field:
            centre = centre * size + (size - 1) // 2
        stacks, inputs, outputs = (math.prod(sizes) for sizes in (kernel.stacks, kernel.inputs, kernel.outputs))
        matrix = haar(stacks, inputs, outputs, self.gain, weight, engine)
        positions = (1, math.prod(kernel.field), 1, 1)
        at_centre = engine.index(Part(0, 1, positions[1]), 1, positions) == centre
        return kernel.store(engine.xp.where(at_centre, matrix[:, None], 0.0), engine.xp)

    def _parts(self, shape: Shape, axes: str | None) -> Canonical:
        weight = matrices(self, shape, axes)
        inputs, outputs = math.prod(weight.inputs), math.prod(weight.outputs)
        if inputs > outputs:
            raise ValueError(
                f"delta_orthogonal needs at least as many outputs as inputs, got {inputs} inputs and {outputs} outputs "
                f"(shape {weight.stored}, axes {axes!r})"
            )
        return weight


orthogonal = Orthogonal
delta_orthogonal = DeltaOrthogonal

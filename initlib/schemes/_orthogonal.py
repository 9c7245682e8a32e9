"""Orthogonal weights: as a matrix, and at the centre of a kernel."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .._arguments import Shape, real
from ..axes import Canonical
from ..stream.boxes import Part
from ..stream.engine import DrawRequest, Engine
from ._normal import normal
from .frozen import scheme, set_fields
from .kinds import Composed, matrices

_NOISE = normal()
BLOCK = 64  # reflections that are applied together


def haar(stacks: int, rows: int, columns: int, gain: float, request: DrawRequest, engine: Engine) -> Any:
    """Return matrices with orthonormal columns, or rows if there are fewer, uniformly distributed, times the gain."""
    xp, dtype = engine.xp, engine.widest(request.dtype)
    tall = (stacks, max(rows, columns), min(rows, columns))
    noise = DrawRequest(tall, None, dtype, request.key)

    def some(stack: Part) -> Any:
        def panel(first: int, last: int) -> Any:
            box = stack, Part(first, 1, tall[1] - first), Part(first, 1, last - first)
            return _NOISE.weights(noise._replace(box=box), engine)

        return reflected(panel, (stack.size, *tall[1:]), dtype, engine)

    # A few matrices at a time, to bound the memory.
    count = max(1, min(stacks, engine.piece // max(1, rows * columns)))
    matrices = [some(Part(k, 1, min(count, stacks - k))) for k in range(0, stacks, count)]
    q = matrices[0] if len(matrices) == 1 else xp.concatenate(matrices)
    q *= gain
    return q if rows >= columns else xp.swapaxes(q, 1, 2)


def reflected(
    noise: Callable[[int, int], Any], shape: tuple[int, ...], dtype: str, engine: Engine, size: int = BLOCK
) -> Any:
    """Return the Q of Householder's QR, signs included, of a normal matrix; reflection k is column k of the noise.

    The rest of a normal matrix after a reflection is normal, and independent of the reflection. So reflections can be
    drawn (Stewart 1980) without a factorization, whose error would grow with the condition number: in float32, Q is
    accurate to 1e-6. The signs are those of the diagonal of R, without which Q is not uniform (Mezzadri 2007).

    `noise(first, last)` returns these columns of the noise, from row `first` on: reflection k does not change the first
    k axes.
    """
    xp = engine.xp

    def reflections(first: int, last: int) -> tuple[Any, Any, Any, Any]:
        drawn = noise(first, last)
        head = xp.diagonal(drawn, 0, 1, 2)
        sign = xp.where(head == 0, 1, xp.sign(head))  # the phase of complex noise
        size_of_head = abs(head)
        del head  # a view, which would keep the memory of the noise
        v = xp.tril(drawn)
        del drawn
        norm = xp.sqrt((abs(v) ** 2).sum(axis=1))
        square = norm * (norm + size_of_head)  # half the square of v
        square = engine.cast(xp.where(square == 0, 1, square), dtype)
        eye = _eye(v.shape[1], v.shape[2], dtype, engine)
        v += eye * (sign * engine.cast(norm, dtype))[:, None, :]
        return v, square, sign, eye

    def factor(v: Any, square: Any, q: Any) -> Any:
        # A block of reflections is 1 - V T V', where inv(T) is the upper triangle of V'V with a halved diagonal
        # (Puglisi 1992).
        adjoint = xp.swapaxes(v, 1, 2).conj()
        diagonal = _eye(v.shape[2], v.shape[2], dtype, engine) * square[:, None, :]
        t = engine.inverse(xp.triu(adjoint @ v, 1) + diagonal)
        return t @ (adjoint @ q)

    q, sign = engine.reflect(shape, dtype, reflections, factor, size)
    q *= -sign[:, None, :]
    return q


def _eye(rows: int, columns: int, dtype: str, engine: Engine) -> Any:
    """Return an identity as a stack of one matrix."""
    sizes = (1, rows, columns)
    down, across = (engine.index(Part(0, 1, sizes[axis]), axis, sizes) for axis in (1, 2))
    return engine.cast(down == across, dtype)


@dataclass(repr=False, eq=False)
class OrthogonalMatrices(Composed):
    """Kernels that hold the gain times an orthogonal matrix."""

    gain: float = 1.0

    def __post_init__(self) -> None:
        set_fields(self, gain=real(self.gain, "gain"))

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return -abs(self.gain), abs(self.gain)


@scheme("orthogonal", proportional_to="gain")
class Orthogonal(OrthogonalMatrices):
    """Orthogonal matrices from receptive field x inputs to outputs, times the gain.

    The matrix is uniformly distributed (Haar): the Q of the QR of a normal matrix, times the signs of the diagonal of
    R. Each stack (B, and n in `(n O)`) is a matrix of its own. Every dtype is computed in float64. The two matrices
    of this computation need 4 times the memory of a float32 weight, or 8 times the memory of a 16-bit weight; on a
    device and in JAX there are three matrices. A box (`index=`) costs a full draw.

    Args:
        gain: factor of the matrix.

    Raises:
        TypeError: gain is not a real number.
        ValueError: gain is not finite; when drawn, the weight has fewer than 2 axes.

    Example:
        >>> import numpy as np
        >>> weight = orthogonal()((256, 64), "float64", seed=0)
        >>> bool(np.allclose(weight.T @ weight, np.eye(64), atol=1e-12))
        True
        >>> orthogonal(gain=2**0.5)((64, 32, 3, 3), axes="OIHW", seed=0).shape  # 288 x 64, orthonormal columns
        (64, 32, 3, 3)

    Reference:
        Saxe, McClelland, Ganguli. Exact solutions to the nonlinear dynamics of learning in deep linear neural
        networks. 2013. arXiv:1312.6120.
    """

    def std(self, shape: Shape, axes: str | None = None) -> float:
        _, rows, columns = matrices(self, shape, axes).matrices
        return abs(self.gain) / math.sqrt(max(rows, columns, 1))

    def compose(self, request: DrawRequest, engine: Engine) -> Any:
        kernel = matrices(self, request.shape, request.axes)
        return kernel.store(haar(*kernel.matrices, self.gain, request, engine), engine.xp)


@scheme("delta_orthogonal", proportional_to="gain")
class DeltaOrthogonal(OrthogonalMatrices):
    """Kernels with an orthogonal matrix, times the gain, at their centre, and 0 elsewhere.

    The matrix maps inputs to outputs. A convolution with such a kernel multiplies the norm of the channels at every
    position by the gain. The centre of k positions is (k - 1) // 2, which "same" padding needs in JAX, Keras and
    PyTorch. A box (`index=`) costs as much as the full matrix.

    Args:
        gain: factor of the matrix.

    Raises:
        TypeError: gain is not a real number.
        ValueError: gain is not finite; when drawn, the weight has more inputs than outputs, or fewer than 2 axes.

    Example:
        >>> kernel = delta_orthogonal()((3, 3, 16, 32), seed=0)
        >>> int((kernel != 0).sum()) == 16 * 32
        True

    Reference:
        Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington. Dynamical isometry and a mean field theory of CNNs. 2018.
        arXiv:1806.05393.
    """

    def std(self, shape: Shape, axes: str | None = None) -> float:
        weight = self._parts(shape, axes)
        return abs(self.gain) / math.sqrt(max(1, math.prod(weight.field) * math.prod(weight.outputs)))

    def compose(self, request: DrawRequest, engine: Engine) -> Any:
        kernel = self._parts(request.shape, request.axes)
        centre = 0
        for size in kernel.field:
            centre = centre * size + (size - 1) // 2
        stacks, inputs, outputs = (math.prod(sizes) for sizes in (kernel.stacks, kernel.inputs, kernel.outputs))
        matrix = haar(stacks, inputs, outputs, self.gain, request, engine)
        positions = (1, math.prod(kernel.field), 1, 1)
        at_centre = engine.index(Part(0, 1, positions[1]), 1, positions) == centre
        return kernel.store(engine.xp.where(at_centre, matrix[:, None], 0.0), engine.xp)

    def _parts(self, shape: Shape, axes: str | None) -> Canonical:
        weight = matrices(self, shape, axes)
        inputs, outputs = math.prod(weight.inputs), math.prod(weight.outputs)
        if inputs > outputs:
            raise ValueError(
                f"outputs of delta_orthogonal must be at least as many as inputs, got {inputs} inputs and {outputs} "
                f"outputs (shape {weight.stored}, axes {axes!r})"
            )
        return weight


orthogonal = Orthogonal
delta_orthogonal = DeltaOrthogonal

"""ZerO: deterministic weights from identities and Hadamard matrices."""

import math
from functools import lru_cache
from typing import Any

from .._arguments import Shape
from ..axes import Canonical
from ._identity import PassThrough, Scalar
from .frozen import scheme
from .kinds import matrices


def _bits(outputs: int) -> int:
    """Return the binary logarithm of the size of the Hadamard matrix, the least that holds the outputs."""
    return (outputs - 1).bit_length()


@lru_cache(maxsize=4096)
def _sum(rows: int, columns: int) -> int:
    """Return the sum of the upper left corner of a Hadamard matrix."""
    rows, columns = max(rows, columns), min(rows, columns)
    if columns == 0 or rows == 1 << _bits(rows):  # of whole columns, only the first has a sum
        return rows if columns else 0
    half = 1 << (_bits(rows) - 1)
    left = min(columns, half)
    return _sum(half, left) + _sum(half, columns - left) + _sum(rows - half, left) - _sum(rows - half, columns - left)


@scheme("zero_hadamard", proportional_to="gain")
class ZeroHadamard(PassThrough):
    """Deterministic weights of ZerO: an identity, or a Hadamard matrix if there are more outputs than inputs.

    The matrix is at the centre of the receptive field (k // 2 of k positions), and all other weights are 0. Let H be
    the Hadamard matrix of the least size 2**m that is at least the number of outputs. The weights are a part of H times
    2**(-m/2), as in the authors' code. The rows are orthonormal if the number of outputs is 2**m. A draw of a box
    (`index=`) computes only the box.

    Args:
        gain: factor of the matrix.

    Raises:
        TypeError: gain is not a real number.
        ValueError: gain is not finite; when drawn, the weight has fewer than 2 axes.

    Example:
        >>> zero_hadamard()((2, 4))
        array([[ 0.5,  0.5,  0.5,  0.5],
               [ 0.5, -0.5,  0.5, -0.5]], dtype=float32)
        >>> zero_hadamard()((3, 2))
        array([[1., 0.],
               [0., 1.],
               [0., 0.]], dtype=float32)

    Reference:
        Zhao, Schäfer, Anandkumar. ZerO initialization: initializing neural networks with only zeros and ones. 2021.
        arXiv:2110.12661.
    """

    def std(self, shape: Shape, axes: str | None = None) -> float:
        weight = matrices(self, shape, axes)
        inputs, outputs = math.prod(weight.inputs), math.prod(weight.outputs)
        if outputs <= inputs:
            return super().std(shape, axes)
        field = max(1, math.prod(weight.field))
        mean = _sum(inputs, outputs) / max(1, field * inputs * outputs)
        return abs(self.gain) * math.sqrt((1 / field - mean**2) / 2 ** _bits(outputs))

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        weight = matrices(self, shape, axes)
        outputs = math.prod(weight.outputs)
        if outputs <= math.prod(weight.inputs):
            return super().bounds(shape, axes)
        limit = abs(self.gain) * math.sqrt(2.0 ** -_bits(outputs))
        return -limit, limit

    def channels(self, weight: Canonical, inputs: Any, outputs: Any, gain: Scalar, xp: Any) -> Any:
        count = math.prod(weight.outputs)
        if count <= math.prod(weight.inputs):
            return super().channels(weight, inputs, outputs, gain, xp)
        odd = inputs & outputs  # Sylvester's construction: the sign is the parity of the common bits
        for shift in (32, 16, 8, 4, 2, 1):
            if _bits(count) > shift:
                odd = odd ^ (odd >> shift)
        limit = gain(math.sqrt(2.0 ** -_bits(count)))
        return xp.where((odd & 1) == 1, -limit, limit)


zero_hadamard = ZeroHadamard

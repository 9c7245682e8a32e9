"""Weights that pass their inputs through: the identity, and dirac kernels."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arguments import Shape, real
from ..axes import Canonical
from ..dtypes import DTYPES, rounded_once
from ..stream.engine import DrawRequest, Engine
from .frozen import scheme, set_fields
from .kinds import Indexed, matrices

Scalar = Callable[[float], Any]  # from a multiple of the gain to a number of the engine, rounded once to the dtype


def flat(coordinates: list[Any], sizes: tuple[int, ...]) -> Any:
    """Return the row-major index over several parts."""
    index: Any = 0
    for coordinate, size in zip(coordinates, sizes, strict=True):
        index = index * size + coordinate
    return index


@dataclass(repr=False, eq=False)
class PassThrough(Indexed):
    """Kernels that are a fixed matrix of inputs to outputs at the centre of the receptive field, and 0 elsewhere."""

    gain: float = 1.0

    def __post_init__(self) -> None:
        set_fields(self, gain=real(self.gain, "gain"))

    def kernel(self, shape: Shape, axes: str | None) -> Canonical:
        """Return the parts of a weight, or raise ValueError for a weight that the scheme cannot fill."""
        return matrices(self, shape, axes)

    def std(self, shape: Shape, axes: str | None = None) -> float:
        _, rows, columns = (weight := self.kernel(shape, axes)).matrices
        share = min(math.prod(weight.inputs), columns) / max(1, rows * columns)
        return abs(self.gain) * math.sqrt(share * (1 - share))

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return min(self.gain, 0.0), max(self.gain, 0.0)

    def channels(self, weight: Canonical, inputs: Any, outputs: Any, gain: Scalar, xp: Any) -> Any:
        """Return the entries of the matrix at the centre, for indices of inputs and outputs."""
        return xp.where(inputs == outputs, gain(1.0), gain(0.0))

    def at(self, request: DrawRequest, indices: Sequence[Any], engine: Engine) -> Any:
        def gain(multiple: float) -> Any:
            value = rounded_once(self.gain * request.scale * multiple, request.dtype)
            return engine.array(np.array(value), DTYPES[request.dtype].wide)

        kernel = self.kernel(request.shape, request.axes)
        _, field, inputs, outputs = kernel.coordinates(indices)
        values = self.channels(kernel, flat(inputs, kernel.inputs), flat(outputs, kernel.outputs), gain, engine.xp)
        for index, size in zip(field, kernel.field, strict=True):
            values = engine.xp.where(index == size // 2, values, gain(0.0))
        return values


@scheme("identity", proportional_to="gain")
class Identity(PassThrough):
    """Matrices with the gain on the diagonal and 0 elsewhere: input c goes to output c.

    Each stack (B, and n in `(n O)`) is an identity of its own. A draw of a box (`index=`) computes only the box.

    Args:
        gain: the value on the diagonal.

    Raises:
        TypeError: gain is not a real number.
        ValueError: gain is not finite; when drawn, the weight has fewer than 2 axes, or a receptive field (use
            `dirac`).

    Example:
        >>> identity()((2, 3))
        array([[1., 0., 0.],
               [0., 1., 0.]], dtype=float32)

    Reference:
        Le, Jaitly, Hinton. A simple way to initialize recurrent networks of rectified linear units. 2015.
        arXiv:1504.00941.
    """

    def kernel(self, shape: Shape, axes: str | None) -> Canonical:
        weight = super().kernel(shape, axes)
        if weight.field:
            raise ValueError(
                f"axes of identity must be inputs and outputs alone, got shape {weight.stored}, axes {axes!r}, with "
                f"{len(weight.field)} receptive-field axes. Use dirac for a convolution"
            )
        return weight


@scheme("dirac", proportional_to="gain")
class Dirac(PassThrough):
    """Kernels that pass input c to output c: the gain at their centre, and 0 elsewhere.

    A convolution with such a kernel passes its input through, times the gain. The centre of k positions is k // 2, as
    in PyTorch. For even k, "same" padding and `delta_orthogonal` have the centre (k - 1) // 2. A draw of a box
    (`index=`) computes only the box.

    Args:
        gain: the value at the centre.

    Raises:
        TypeError: gain is not a real number.
        ValueError: gain is not finite; when drawn, the weight has fewer than 2 axes.

    Example:
        >>> dirac()((3, 1, 1)).ravel()
        array([0., 1., 0.], dtype=float32)
        >>> dirac()((64, 16, 3, 3), axes="(4 O)IHW").shape  # each of 4 groups passes its own inputs through
        (64, 16, 3, 3)

    Reference:
        Zagoruyko, Komodakis. DiracNets: training very deep neural networks without skip-connections. 2017.
        arXiv:1706.00388.
    """


identity = Identity
dirac = Dirac

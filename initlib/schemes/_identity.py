"""Weights that pass their inputs through: the identity, and its kernel."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .._arguments import Shape, real
from .._public import public
from ..axes import Canonical
from ..dtypes import DTYPES, rounded_once
from ..stream.engine import DrawRequest, Engine
from .initializer import set_fields
from .kinds import Indexed, matrices

Scalar = Callable[[float], Any]  # from a multiple of the gain to an engine's number, rounded once to the weight's dtype


def flat(coordinates: list[Any], sizes: tuple[int, ...]) -> Any:
    """One index over several parts, row-major."""
    index: Any = 0
    for coordinate, size in zip(coordinates, sizes, strict=True):
        index = index * size + coordinate
    return index


@dataclass(repr=False, eq=False)
class PassThrough(Indexed):
    """Kernels that are a fixed matrix of inputs to outputs at the centre of the receptive field, and 0 elsewhere."""

    gain: float = 1.0
    proportional_to: ClassVar[str | None] = "gain"

    def __post_init__(self) -> None:
        set_fields(self, gain=real(self.gain, "gain"))

    def std(self, shape: Shape, axes: str | None = None) -> float:
        _, rows, columns = (weight := matrices(self, shape, axes)).matrices
        share = min(math.prod(weight.inputs), columns) / max(1, rows * columns)
        return abs(self.gain) * math.sqrt(share * (1 - share))

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return min(self.gain, 0.0), max(self.gain, 0.0)

    def channels(self, weight: Canonical, inputs: Any, outputs: Any, gain: Scalar, xp: Any) -> Any:
        """The matrix at the centre: here the gain from input c to output c."""
        return xp.where(inputs == outputs, gain(1.0), gain(0.0))

    def at(self, weight: DrawRequest, indices: Sequence[Any], engine: Engine) -> Any:
        def gain(multiple: float) -> Any:
            value = rounded_once(self.gain * weight.scale * multiple, weight.dtype)
            return engine.array(np.array(value), DTYPES[weight.dtype].wide)

        kernel = matrices(self, weight.shape, weight.axes)
        _, field, inputs, outputs = kernel.coordinates(indices)
        values = self.channels(kernel, flat(inputs, kernel.inputs), flat(outputs, kernel.outputs), gain, engine.xp)
        for index, size in zip(field, kernel.field, strict=True):
            values = engine.xp.where(index == size // 2, values, gain(0.0))
        return values


@public("initlib", "identity")
@dataclass(repr=False, eq=False)
class Identity(PassThrough):
    """Matrices with the gain on the diagonal and 0 elsewhere: input c goes to output c.

    >>> identity()((2, 3))
    array([[1., 0., 0.],
           [0., 1., 0.]], dtype=float32)

    Each stack (`B`, and n in `(n O)`) is an identity of its own; a box (`index=`) costs a box. Raises ValueError for a
    weight with a receptive field, whose identity is `dirac`.
    For recurrent weights of relu: Le, Jaitly, Hinton 2015, arXiv 1504.00941.
    """

    factory: ClassVar[str] = "identity"

    def std(self, shape: Shape, axes: str | None = None) -> float:
        self._check(shape, axes)
        return super().std(shape, axes)

    def at(self, weight: DrawRequest, indices: Sequence[Any], engine: Engine) -> Any:
        self._check(weight.shape, weight.axes)
        return super().at(weight, indices, engine)

    def _check(self, shape: Shape, axes: str | None) -> None:
        weight = matrices(self, shape, axes)
        if weight.field:
            raise ValueError(
                f"identity needs a weight of inputs and outputs alone, got shape {weight.stored}, axes {axes!r}, with "
                f"{len(weight.field)} receptive-field axes; the identity of a convolution is dirac"
            )


@public("initlib", "dirac")
@dataclass(repr=False, eq=False)
class Dirac(PassThrough):
    """Kernels with the gain at their centre, from input c to output c, and 0 elsewhere.

    >>> dirac()((3, 1, 1)).ravel()
    array([0., 1., 0.], dtype=float32)
    >>> dirac()((64, 16, 3, 3), axes="(4 O)IHW").shape  # a PyTorch convolution of 4 groups: each passes its own inputs
    (64, 16, 3, 3)

    A convolution by it passes its input through, times the gain. The centre of k positions is k // 2, as in PyTorch;
    for even k this is one further than "same" padding's, and `delta_orthogonal`'s, (k - 1) // 2. A box (`index=`) costs
    a box. Zagoruyko, Komodakis 2017, arXiv 1706.00388.
    """

    factory: ClassVar[str] = "dirac"


identity = Identity
dirac = Dirac

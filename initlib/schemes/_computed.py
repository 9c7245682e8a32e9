"""Weights that the host computes from their indices, because sines and powers differ between array libraries.

Only sums, products, and roundings of float64 and of `decimal` are used, so the bits are the same on every machine.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arguments import Shape, checked_shape
from ..dtypes import DTYPES, numpy_dtype, rounded
from ..stream.engine import DrawRequest, Engine
from ..stream.numpy_engine import NUMPY
from .kinds import Indexed

Array = NDArray[np.float64]

# pi / 2 in three parts. A product of one of the first two and an int below 2**27 is exact.
HALF_PI = tuple(map(float.fromhex, ("0x1.921fb50000000p+0", "0x1.110b460000000p-26", "0x1.1a62633145c07p-54")))
MOST_RADIANS = 2**27


class Computed(Indexed):
    """An initializer whose weights NumPy computes in float64 for every engine."""

    needs_axes = False  # its indices are stored ones

    @abstractmethod
    def values(self, shape: tuple[int, ...], indices: Sequence[NDArray[np.int64]]) -> Array:
        """Return the weights at broadcastable indices of the stored axes."""

    def at(self, request: DrawRequest, indices: Sequence[Any], engine: Engine) -> Any:
        sizes = tuple(part.size for part in request.parts)
        stored = [NUMPY.index(part, axis, sizes).astype(np.int64) for axis, part in enumerate(request.parts)]
        dtype = DTYPES[request.dtype]
        weights = rounded(self.values(request.shape, stored) * request.scale, dtype.part or request.dtype)
        return engine.array(weights.astype(numpy_dtype(dtype.wide), copy=False), dtype.wide)


class ComputedVector(Computed):
    """An initializer of vectors: shapes with at most one axis longer than 1."""

    @abstractmethod
    def vector(self, size: int) -> Array:
        """Return the full vector of the given size, which is above 0."""

    def _vector(self, shape: Shape) -> Array:
        sizes = checked_shape(shape)
        if math.prod(sizes) != max(sizes, default=1):
            raise ValueError(f"shape must have at most one axis longer than 1 for {self.factory}, got {sizes}")
        return self.vector(max(sizes, default=1))

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return float(self._vector(shape).std())

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        vector = self._vector(shape)
        return float(vector.min()), float(vector.max())

    def values(self, shape: tuple[int, ...], indices: Sequence[NDArray[np.int64]]) -> Array:
        return self._vector(shape)[sum(indices, np.zeros((), np.int64))]  # the index of an axis of size 1 is 0


@lru_cache(maxsize=64)
def powers(base: float, numerators: tuple[float, ...], denominator: int) -> Array:
    """Return the powers of a base by fractions, each rounded once.

    >>> powers(4.0, (1, 4), 2)
    array([ 2., 16.])
    """
    from decimal import Context, Decimal  # most programs draw no powers

    context = Context(prec=40)
    logarithm = context.divide(context.ln(Decimal(base)), Decimal(denominator))
    return np.array([float(context.exp(context.multiply(logarithm, Decimal(n)))) for n in numerators])


def sines(radians: Array, quarters: NDArray[np.int64]) -> Array:
    """Return sin(radians + quarters * pi / 2) to about one unit in the last place, for 0 <= radians <= 2**27.

    >>> sines(np.array([0.0, 1.0]), np.array([1, 0]))
    array([1.        , 0.84147098])
    """
    turns = np.rint(radians * (2 / math.pi))
    x = radians
    for part in HALF_PI:
        x = x - turns * part
    square = x * x
    sine = x + x * square * _series(square, range(3, 18, 2))
    cosine = 1 - square / 2 + square * square * _series(square, range(4, 17, 2), sign=1.0)
    quarter = (turns.astype(np.int64) + quarters) % 4
    value = np.where(quarter % 2, cosine, sine)
    return np.where(quarter < 2, value, -value)


def _series(square: Array, factorials: range, sign: float = -1.0) -> Array:
    """Return the sum of sign * (-square)**k / n!, over n in the factorials."""
    total = np.zeros_like(square)
    for number in reversed(factorials):
        total = sign / math.factorial(number) - total * square
    return total

"""Engine: an array library that can draw, as the few operations in which libraries differ.

An initializer calls an engine for arrays. An engine does not depend on the kinds of initializers.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..axes import canonical
from ..dtypes import DTYPES
from . import reference as stream
from .boxes import Box, Part, Pieces, box_inside, box_shape, full_box
from .law import Law

Array = Any
# From a range of columns to Householder reflections: the vectors, from the row of the first column on, half of their
# squared lengths, the signs of the columns, and one identity matrix of the shape of the vectors.
Reflections = Callable[[int, int], tuple[Array, Array, Array, Array]]
Factor = Callable[[Array, Array, Array], Array]


class DrawRequest(NamedTuple):
    """A weight to draw: its shape, axes and dtype, its stream, the requested box, and a scale."""

    shape: tuple[int, ...]
    axes: str | None
    dtype: str
    key: Any  # a `Key`; in an engine that traces, the words of a key
    box: Box | None = None  # None: the full weight
    scale: float = 1.0

    @property
    def parts(self) -> Box:
        """Return the box, also of a full weight."""
        return full_box(self.shape) if self.box is None else self.box

    @property
    def out_shape(self) -> tuple[int, ...]:
        """Return the shape of the drawn array."""
        return self.shape if self.box is None else box_shape(self.box)


class Engine(stream.Ops):
    """An array library that can draw.

    A new engine implements the abstract methods. All other methods call the abstract methods. An engine with a compiled
    kernel overrides `draw` or `fill`. An engine with immutable arrays overrides `reflect`.
    """

    xp: Any  # the functions of the library, by NumPy's names: numpy, jax.numpy
    piece: int  # the number of weights that are drawn at a time into existing memory

    @abstractmethod
    def complex(self, real: Array, imaginary: Array) -> Array:
        """Return complex numbers with these real and imaginary parts."""

    @abstractmethod
    def index(self, part: Part, axis: int, shape: tuple[int, ...]) -> Array:
        """Return the indices that a part takes of one axis, as integers of any width that holds them.

        `shape` is the shape of the box with no axis dropped. The result has this shape, or broadcasts to this shape.
        """

    @abstractmethod
    def array(self, values: NDArray[Any], dtype: str) -> Array:
        """Return the library's array of the values, in the dtype."""

    @abstractmethod
    def words(self, key: Any) -> tuple[Array, Array]:
        """Return the two words of a key, high first, as int32 scalars."""

    @abstractmethod
    def fold_in(self, key: Any, data: str | int) -> Any:
        """Return the key of another stream, for a name or an int, as `Key.fold_in`."""

    def widest(self, dtype: str) -> str:
        """Return the widest dtype in which the engine computes weights of a dtype."""
        return DTYPES[dtype].wide

    def positions(self, request: DrawRequest) -> tuple[Array, Array]:
        """Return the canonical position of every weight of the box, as (high, low); a dropped axis has size 1."""
        sizes = tuple(part.size for part in request.parts)
        terms = []
        for axis, (part, factors) in enumerate(
            zip(request.parts, canonical(request.shape, request.axes).factors, strict=True)
        ):
            index = self.index(part, axis, sizes)
            for factor in factors:
                digit = index if factor.step == 1 else index // factor.step
                if factor is not factors[0]:  # the outermost factor never wraps
                    digit = digit % factor.size
                terms.append((self.cast(digit, "int32"), factor.stride))
                if factor.size > 2**32:
                    terms.append((self.cast(digit >> 32, "int32"), factor.stride << 32))
        zero = self.array(np.zeros((1,) * len(sizes), np.int32), "int32")
        return stream.locate(terms, math.prod(request.shape), zero, self)

    def reference(self, law: Law, request: DrawRequest) -> Array:
        """Draw the box by the reference: the stream in the operations of the library."""
        drawn = stream.weights(law, self.words(request.key), *self.positions(request), self)
        return drawn.reshape(request.out_shape)

    def draw(self, law: Law, request: DrawRequest) -> Array:
        """Draw the weights of `reference` in the fastest way of the engine."""
        return self.reference(law, request)

    def fill(self, out: Any, law: Law, request: DrawRequest) -> None:
        """Fill memory with the weights of `reference` in the fastest way of the engine."""
        self.fill_in_pieces(out, request, partial(self.reference, law))

    def fill_in_pieces(self, out: Any, request: DrawRequest, draw: Callable[[DrawRequest], Array]) -> None:
        """Fill memory with the box, drawn in pieces of a bounded number of weights."""
        parts = tuple(part._replace(drop=False) for part in request.parts)
        # The `...` keeps a view where an empty index would give a number.
        out = out[(*(None if part.drop else slice(None) for part in request.parts), ...)]
        for piece in Pieces(tuple(part.size for part in parts), self.piece):
            drawn = draw(request._replace(box=box_inside(parts, piece.place)))
            self.put(out[(*piece.place, ...)], drawn, request.dtype)

    def put(self, out: Any, values: Array, dtype: str) -> None:
        """Write the values, rounded to the dtype, into memory."""
        out[...] = self.cast(values, dtype)

    def inverse(self, upper: Array) -> Array:
        """Return the inverses of upper triangular matrices."""
        return self.xp.linalg.inv(upper)

    def reflect(
        self, shape: tuple[int, ...], dtype: str, reflections: Reflections, factor: Factor, size: int
    ) -> tuple[Array, Array]:
        """Return identity matrices after blocks of `size` Householder reflections, the last block first, and the signs.

        A block that starts at reflection k changes rows and columns from k on, by `-v @ factor(v, square, q)`.
        """
        stacks, _, columns = shape
        v, square, sign, eye = reflections(0, columns)
        q = eye if stacks == 1 else self.xp.concatenate([eye] * stacks)
        del eye
        for start in reversed(range(0, columns, size)):
            block = slice(start, start + size)
            rest, some = q[:, start:, start:], v[:, start:, block]
            rest -= some @ factor(some, square[:, block], rest)
        return q, sign

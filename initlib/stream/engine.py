"""Engine: an array library that can draw. What differs between libraries, and nothing else, is written here once each.

An initializer asks an engine for arrays; an engine never asks what kind of initializer it draws.
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
from .boxes import Box, Part, box_shape, pieces, whole_box
from .law import Law

Array = Any


class DrawRequest(NamedTuple):
    """One parameter to draw: what it is, its stream, the box of it that is wanted, and what multiplies it."""

    shape: tuple[int, ...]
    axes: str | None
    dtype: str
    key: Any  # a `Key`; in an engine that traces, the words of one
    box: Box | None = None  # None: all of it
    scale: float = 1.0

    @property
    def parts(self) -> Box:
        """The box, also of a whole weight."""
        return whole_box(self.shape) if self.box is None else self.box

    @property
    def out_shape(self) -> tuple[int, ...]:
        """The shape of what is drawn."""
        return self.shape if self.box is None else box_shape(self.box)


class Engine(stream.Ops):
    """An array library that can draw.

    A new one says how its library spells the operations of the stream, an index along an axis, a key's words and an
    array; the rest follows. It overrides `draw` or `fill` where it has a kernel, and `reflect` if its arrays are
    immutable.
    """

    xp: Any  # the library's functions, by NumPy's names: numpy, jax.numpy
    piece: int  # how many weights are drawn at a time into memory that exists

    @abstractmethod
    def complex(self, real: Array, imaginary: Array) -> Array:
        """The complex numbers of these parts."""

    @abstractmethod
    def index(self, part: Part, axis: int, shape: tuple[int, ...]) -> Array:
        """The indices that a part takes of one axis, as integers of any width that holds them.

        `shape` is that of the box with no axis dropped; the result has it, or broadcasts to it.
        """

    @abstractmethod
    def array(self, values: NDArray[Any], dtype: str) -> Array:
        """The library's array of NumPy's values."""

    @abstractmethod
    def words(self, key: Any) -> tuple[Array, Array]:
        """The two words of a key, high first, as int32 scalars."""

    @abstractmethod
    def fold_in(self, key: Any, data: str | int) -> Any:
        """The key of a stream of its own, for a name or an int: `Key.fold_in`."""

    def widest(self, dtype: str) -> str:
        """The widest dtype that the engine computes in on the way to weights of a dtype."""
        return DTYPES[dtype].wide

    def positions(self, weight: DrawRequest) -> tuple[Array, Array]:
        """The canonical position of every weight of a box, as (high, low); a dropped axis has size 1."""
        sizes = tuple(part.size for part in weight.parts)
        terms = []
        for axis, (part, factors) in enumerate(
            zip(weight.parts, canonical(weight.shape, weight.axes).factors, strict=True)
        ):
            index = self.index(part, axis, sizes)
            for factor in factors:
                digit = index if factor.step == 1 else index // factor.step
                if factor is not factors[0]:  # the outermost one never wraps
                    digit = digit % factor.size
                terms.append((self.cast(digit, "int32"), factor.stride))
                if factor.size > 2**32:
                    terms.append((self.cast(digit >> 32, "int32"), factor.stride << 32))
        zero = self.array(np.zeros((1,) * len(sizes), np.int32), "int32")
        return stream.locate(terms, math.prod(weight.shape), zero, self)

    def reference(self, law: Law, weight: DrawRequest) -> Array:
        """The weights of a box, drawn one by one by a law, in its dtype: the stream in the library's own operations."""
        drawn = stream.weights(law, self.words(weight.key), *self.positions(weight), self)
        return drawn.reshape(weight.out_shape)

    def draw(self, law: Law, weight: DrawRequest) -> Array:
        """The same weights, by the fastest way that the engine has."""
        return self.reference(law, weight)

    def fill(self, out: Any, law: Law, weight: DrawRequest) -> None:
        """Draw the same weights into memory, by the fastest way that the engine has."""
        self.fill_in_pieces(out, weight, partial(self.reference, law))

    def fill_in_pieces(self, out: Any, weight: DrawRequest, draw: Callable[[DrawRequest], Array]) -> None:
        """Put what `draw` makes of each piece of a box into memory, a bounded number of weights at a time."""
        # The `...` keeps a view where an index of nothing would give a number.
        out = out[(*(None if part.drop else slice(None) for part in weight.parts), ...)]
        for place, piece in pieces(tuple(part._replace(drop=False) for part in weight.parts), self.piece):
            self.put(out[(*place, ...)], draw(weight._replace(box=piece)), weight.dtype)

    def put(self, out: Any, values: Array, dtype: str) -> None:
        """Write values, rounded to the dtype, into memory."""
        out[...] = self.cast(values, dtype)

    def inverse(self, upper: Array) -> Array:
        """The inverses of upper triangular matrices."""
        return self.xp.linalg.inv(upper)

    def reflect(
        self, q: Array, v: Array, square: Array, size: int, apply: Callable[[Array, Array, Array], Array]
    ) -> Array:
        """Apply blocks of so many Householder reflections to matrices, the last block first.

        Block k leaves the first k rows and columns alone. `apply(v, square, q)` says by how much it changes the rest.
        """
        for start in reversed(range(0, v.shape[2], size)):
            block = slice(start, start + size)
            q[:, start:, start:] -= apply(v[:, start:, block], square[:, block], q[:, start:, start:])
        return q

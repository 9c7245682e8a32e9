"""NumPy's engine: the compiled kernel if available, else the reference."""

import math
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._rounding import check_rounding
from ..dtypes import numpy_dtype, rounded
from . import config, kernel
from . import reference as stream
from .boxes import Part
from .engine import DrawRequest, Engine, Factor, Reflections
from .law import Law

Array = NDArray[Any]
PANEL = 2**16  # weights of reflections that are drawn at a time, about


class NumPyEngine(Engine):
    """An engine that draws NumPy arrays."""

    xp = np
    piece = 2**15  # about 30 arrays of this size stay in the second-level cache

    def cast(self, x: Array, dtype: str) -> Array:
        return x.astype(numpy_dtype(dtype), copy=False)

    def bits(self, x: Array) -> Array:
        return x.view(np.int32)

    def shift_right(self, x: Array, count: int) -> Array:
        return (x.view(np.uint32) >> np.uint32(count)).view(np.int32)

    def take(self, column: int, rows: Array) -> Array:
        return stream.COLUMNS[column].take(rows)

    def complex(self, real: Array, imaginary: Array) -> Array:
        return real + 1j * imaginary

    def index(self, part: Part, axis: int, shape: tuple[int, ...]) -> Array:
        # Axes may have up to 2**64 - 1 indices; a step back wraps.
        index = np.arange(part.size, dtype=np.uint64) * np.array(part.step % 2**64, np.uint64)
        return (index + np.array(part.start, np.uint64)).reshape([-1 if k == axis else 1 for k in range(len(shape))])

    def array(self, values: Array, dtype: str) -> Array:
        return values.astype(numpy_dtype(dtype), copy=False)

    def words(self, key: Any) -> tuple[Array, Array]:
        return _words(key.seed)

    def fold_in(self, key: Any, data: str | int) -> Any:
        return key.fold_in(data)

    def widest(self, dtype: str) -> str:
        return "complex128" if dtype.startswith("complex") else "float64"

    def reference(self, law: Law, request: DrawRequest) -> Array:
        check_rounding()
        # A scale too large for the dtype gives infinity, as in the kernel.
        with np.errstate(over="ignore"):
            return super().reference(law, request)

    def draw(self, law: Law, request: DrawRequest) -> Array:
        out = np.empty(request.out_shape, numpy_dtype(law.dtype))
        self.fill(out, law, request)
        return out

    def fill(self, out: Array, law: Law, request: DrawRequest) -> None:
        if out.size == 0:
            return
        if kernel.draws(law.dtype):
            kernel.fill(kernel.memory_of(out), law, request)
        else:
            super().fill(out, law, request)

    def put(self, out: Array, values: Array, dtype: str) -> None:
        out[...] = rounded(np.asarray(values), dtype) if dtype != "uint32" else values

    def reflect(
        self, shape: tuple[int, ...], dtype: str, reflections: Reflections, factor: Factor, size: int
    ) -> tuple[Array, Array]:
        stacks, rows, columns = shape
        width = size * max(1, PANEL // (stacks * rows * size or 1))
        if columns <= width:
            return super().reflect(shape, dtype, reflections, factor, size)
        # Few reflections exist at a time, and all products have one memory. NumPy adds up a single column in another
        # order than several, so that a last column joins the columns before it.
        ends = [*range(0, columns - 1, width), columns]
        q, memory, signs = np.zeros(shape, dtype), np.empty(math.prod(shape), dtype), []
        diagonal = np.arange(columns)
        q[:, diagonal, diagonal] = 1
        for first, last in reversed(list(pairwise(ends))):
            v, square, sign, _ = reflections(first, last)
            signs.append(sign)
            for start in reversed(range(0, last - first, size)):
                block = slice(start, start + size)
                rest, some = q[:, first + start :, first + start :], v[:, start:, block]
                product = memory[: rest.size].reshape(rest.shape)
                rest -= np.matmul(some, factor(some, square[:, block], rest), out=product)
        return q, np.concatenate(signs[::-1], axis=1)


NUMPY = NumPyEngine()


@lru_cache(maxsize=256)
def _words(number: int) -> tuple[Array, Array]:
    """Return the words of a 64-bit number, high first, as arrays of one int32: NumPy warns of scalars that wrap."""
    return np.array([stream.int32(number >> 32)], np.int32), np.array([stream.int32(number)], np.int32)


def block(key: int, counter: int) -> int:
    """Return the Threefry-2x32 block of a 64-bit counter under a 64-bit key, as 64 bits."""
    if config.kernel is not None:
        return config.kernel.block(key, counter)
    x0, x1 = stream.threefry(_words(key), *_words(counter), NUMPY)
    return int(x0.view(np.uint32)[0]) << 32 | int(x1.view(np.uint32)[0])

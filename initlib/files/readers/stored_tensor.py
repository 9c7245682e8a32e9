"""A tensor of a file, which is read piece by piece when its numbers are needed."""

import math
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...dtypes import numpy_dtype
from ..printable import printable

PIECE = 2**18  # numbers that are read at once, unless one row has more
LARGEST = 2**31  # bytes of a row, or of an array that must be read at once
CHUNK = 2**24  # bytes of one call of read
MAX_AXES = 64  # of a NumPy array
TOO_PACKED = "the file unpacks to more than 100 times its size. Save the tensor without compression"

Blocks = Callable[[int], Iterator[NDArray[Any]]]  # yields all rows of the first axis, at most so many at a time


class UnmeasuredError(ValueError):
    """A tensor that cannot be read, in a file that may be sound."""


class StoredTensor(NamedTuple):
    """A tensor's name, shape and dtype, and the function that reads it.

    >>> tensor = StoredTensor.of("w", np.arange(6.0).reshape(3, 2))
    >>> [piece.tolist() for piece in tensor.pieces(4)]
    [[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0]]]
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    blocks: Blocks
    memory: Hashable = None  # two tensors of equal memory are one tensor under two names
    axes: str | None = None  # if known

    @classmethod
    def of(cls, name: str, array: NDArray[Any], memory: Hashable = None, axes: str | None = None) -> "StoredTensor":
        """Return the stored tensor of an array in memory."""

        def blocks(rows: int) -> Iterator[NDArray[Any]]:
            whole = array.reshape(1) if array.ndim == 0 else array
            return (numbers(whole[start : start + rows]) for start in range(0, len(whole), rows))

        return cls(name, tuple(array.shape), array.dtype.name, blocks, memory, axes)

    @classmethod
    def without(cls, name: str, shape: tuple[int, ...], dtype: str, reason: str) -> "StoredTensor":
        """Return a tensor that cannot be read: reading it raises `UnmeasuredError` with the reason."""

        def blocks(rows: int) -> Iterator[NDArray[Any]]:
            raise UnmeasuredError(reason)

        return cls(name, shape, dtype, blocks)

    @classmethod
    def in_file(cls, name: str, shape: tuple[int, ...], dtype: str, path: Path, start: int) -> "StoredTensor":
        """Return the tensor whose little-endian numbers lie in row-major order from a byte of a file on."""

        def blocks(rows: int) -> Iterator[NDArray[Any]]:
            # Not mapped: a mapped file that shrinks kills the process.
            with path.open("rb") as file:
                file.seek(start)
                for piece in stored_rows(file, shape, _stored_dtype(dtype), rows, str(path)):
                    yield decoded(piece, dtype)

        return cls(name, shape, dtype, blocks)

    def part(self, start: int, stop: int) -> "StoredTensor":
        """Return some of the rows, as a tensor."""

        def blocks(rows: int) -> Iterator[NDArray[Any]]:
            passed = 0
            for piece in self.blocks(rows):
                some = piece[max(start - passed, 0) : max(stop - passed, 0)]
                passed += len(piece)
                if len(some):
                    yield some
                if passed >= stop:
                    break

        return self._replace(shape=(stop - start, *self.shape[1:]), blocks=blocks, axes=None)

    @property
    def size(self) -> int:
        """Return the number of weights."""
        return math.prod(self.shape)

    def pieces(self, most: int = PIECE) -> Iterator[NDArray[Any]]:
        """Yield the rows in pieces of at least one row, and of at most `most` numbers; a scalar is one row.

        Raises OSError, ImportError for a dtype that needs a package, `UnmeasuredError`, and ValueError where the file
        is broken.
        """
        if not self.size:
            return iter(())
        if len(self.shape) > MAX_AXES:
            raise UnmeasuredError(f"the tensor has {len(self.shape)} axes, more than {MAX_AXES}")
        row = self.size // (self.shape[0] if self.shape else 1)
        if row * 8 > LARGEST:
            raise UnmeasuredError(f"the rows of {row} numbers are too long to be read")
        return self.blocks(max(1, most // row))


@contextmanager
def as_value_errors(what: str, *kinds: type[Exception]) -> Iterator[None]:
    """Raise ValueError for errors of these kinds, which libraries raise for broken files."""
    try:
        yield
    except kinds as error:
        raise ValueError(f"{what}: {printable(str(error))}") from None


def numbers(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array in a dtype with which NumPy computes: narrow floats as float32, which holds them exactly."""
    if array.dtype.kind not in "biufc":
        return array.astype(np.float32)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def decoded(stored: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return the numbers of an array of the dtype in which a file stores them."""
    if dtype == "bfloat16":  # the upper half of a float32; ml_dtypes may be missing
        return (stored.astype(np.uint32) << 16).view(np.float32)
    return numbers(stored)


def _stored_dtype(name: str) -> np.dtype[Any]:
    """Return the NumPy dtype in which a file stores a dtype of that name."""
    if name == "bfloat16":
        return np.dtype("<u2")
    if name.startswith("float8"):
        return numpy_dtype(name)
    try:
        return np.dtype(name).newbyteorder("<")
    except TypeError:
        raise UnmeasuredError(f"NumPy has no dtype {name}") from None


def unpacked_limit(size: int) -> int:
    """Return the bytes to which a file of `size` bytes may unpack: files of repetitions alone unpack to more."""
    return max(2**25, 100 * size)


def stored_rows(
    file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any], rows: int, what: str
) -> Iterator[NDArray[Any]]:
    """Yield the next bytes of a file as an array of that shape, at most so many rows at a time; a scalar is one row."""
    count, *rest = shape or (1,)
    for start in range(0, count, rows):
        some = min(rows, count - start)
        raw = exactly(file, some * math.prod(rest) * dtype.itemsize, what)
        yield np.frombuffer(raw, dtype).reshape(some, *rest)


def exactly(file: IO[bytes], size: int, what: str) -> bytearray:
    """Return the next `size` bytes of a file. Raises ValueError where the file ends before."""
    raw = bytearray()
    while len(raw) < size:
        chunk = file.read(min(CHUNK, size - len(raw)))
        if not chunk:
            raise ValueError(f"{what} is truncated")
        raw += chunk
    return raw

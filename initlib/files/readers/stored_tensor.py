"""One tensor of a file, whose numbers are read when they are asked for, some rows at a time."""

import math
from collections.abc import Callable, Hashable, Iterator
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PIECE = 2**18  # numbers that are read at once, where one row is no more
LARGEST = 2**31  # bytes of what has to be read at once: a row, or an array in the order of columns

Blocks = Callable[[int], Iterator[NDArray[Any]]]  # so many rows of the first axis after so many, from the first on


class UnmeasuredError(ValueError):
    """A tensor whose numbers cannot be had, in a file that may be sound."""


class StoredTensor(NamedTuple):
    """A tensor's name, shape and dtype, and what reads it.

    >>> tensor = StoredTensor.of("w", np.arange(6.0).reshape(3, 2))
    >>> [piece.tolist() for piece in tensor.pieces(4)]
    [[[0.0, 1.0], [2.0, 3.0]], [[4.0, 5.0]]]
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    blocks: Blocks
    memory: Hashable = None  # tensors that say the same are one tensor under several names
    axes: str | None = None  # what its axes mean, where somebody knows

    @classmethod
    def of(cls, name: str, array: NDArray[Any], memory: Hashable = None, axes: str | None = None) -> "StoredTensor":
        """A tensor that is in memory."""

        def blocks(rows: int) -> Iterator[NDArray[Any]]:
            whole = array.reshape(1) if array.ndim == 0 else array
            return (numbers(whole[start : start + rows]) for start in range(0, len(whole), rows))

        return cls(name, tuple(array.shape), array.dtype.name, blocks, memory, axes)

    @classmethod
    def without(cls, name: str, shape: tuple[int, ...], dtype: str, reason: str) -> "StoredTensor":
        """A tensor whose numbers cannot be had: reading them raises `UnmeasuredError`, with the reason."""

        def blocks(rows: int) -> Iterator[NDArray[Any]]:
            raise UnmeasuredError(reason)

        return cls(name, shape, dtype, blocks)

    def part(self, start: int, stop: int) -> "StoredTensor":
        """Some of its rows, as a tensor."""

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
        """How many numbers it has."""
        return math.prod(self.shape)

    def pieces(self, most: int = PIECE) -> Iterator[NDArray[Any]]:
        """Its rows, so many numbers at a time, and a row at least; a scalar is one row.

        Raises OSError, ImportError for a dtype that needs a package, `UnmeasuredError`, and ValueError where the file
        is not what it says.
        """
        if not self.size:
            return iter(())
        row = self.size // (self.shape[0] if self.shape else 1)
        if row * 8 > LARGEST:
            raise UnmeasuredError(f"its rows are too long to be read, {row} numbers")
        return self.blocks(max(1, most // row))


def numbers(array: NDArray[Any]) -> NDArray[Any]:
    """An array in a dtype that NumPy computes with: narrow floats as float32, which holds them exactly."""
    if array.dtype.kind not in "biufc":
        return array.astype(np.float32)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def exactly(file: IO[bytes], size: int, what: str) -> bytes:
    """So many bytes of a file. Raises ValueError where it ends before."""
    raw = file.read(size)
    if len(raw) != size:
        raise ValueError(f"{what} ends before all of it is there")
    return raw

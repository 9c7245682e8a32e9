"""Counts of a tensor, taken piece by piece in memory that does not grow with the tensor."""

import copy
import hashlib
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...files.readers.stored_tensor import PIECE, UnmeasuredError

Array = NDArray[Any]

SAMPLE = 2**16  # numbers in the sample
EXTREMES = 256  # numbers that are kept at each end
MOST_LINES = 2**22  # the most rows, or columns, that are measured separately
LARGEST = 2.0**480  # sums of squares are exact enough up to this size, and down to its inverse
SCALE = 2.0**768  # multiplies or divides numbers outside of that range


class Lines(NamedTuple):
    """Rows or columns of a tensor as a matrix: their length, and the sums, zeros and hash of each."""

    length: int
    sums: Array
    squares: Array
    zeros: Array
    hashes: Array

    @classmethod
    def empty(cls, count: int, length: int) -> "Lines | None":
        """Return lines without any numbers; None where there are too many lines."""
        if count > MOST_LINES:
            return None
        return cls(length, np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count, np.uint64))

    def add(self, where: slice, values: Array, bits: Array, factors: Array, axis: int) -> None:
        """Count numbers. Their bits are multiplied by random factors, so that only equal lines have equal hashes."""
        self.sums[where] += values.sum(axis=axis)
        self.squares[where] += np.einsum("ij,ij->i" if axis == 1 else "ij,ij->j", values, values)
        self.zeros[where] += (values == 0).sum(axis=axis)
        self.hashes[where] += bits @ factors if axis == 1 else factors @ bits


class Tally:
    """Counts of one tensor of floats.

    A row is an index of the first axis, with all other axes; a column is an index of the last axis, with all axes
    before. Finite numbers have a count, a mean, a std, a least and a greatest number, and an evenly spaced sample.
    `scale` is the factor of means and deviations: 1, unless squares would leave the range of float64.
    """

    def __init__(self, shape: tuple[int, ...], pieces: Iterable[Array]) -> None:
        self.shape, self.size = shape, math.prod(shape)
        self.floats, self.bits = True, 64  # True for floats; the bits of a number
        self.nans = self.infinities = self.zeros = self.count = 0
        self.scale = SCALE
        self._mean = self._deviation = 0.0
        self.lowest = self.highest = np.empty(0)
        self.rows = self.columns = None
        if len(shape) >= 2 and self.size:
            self.rows = Lines.empty(shape[0], self.size // shape[0])
            self.columns = Lines.empty(shape[-1], self.size // shape[-1])
        digest = hashlib.blake2b(digest_size=16)
        self._stride = _stride(self.size, shape[-1] if shape else 1)
        sample: list[Array] = []
        done = 0
        for piece in pieces:
            if piece.dtype.kind == "c":
                raise UnmeasuredError("the tensor holds complex numbers")
            self.floats, self.bits = piece.dtype.kind == "f", 8 * piece.itemsize
            for part in self._parts(np.ascontiguousarray(piece).reshape(-1)):
                self._add(part, done, sample)
                digest.update(part.view(np.uint8).data)
                done += part.size
        self.digest = digest.digest()
        self.sample = np.concatenate(sample) if sample else np.empty(0)

    @property
    def constant(self) -> bool:
        """Return True if all numbers are equal."""
        return bool(self.count) and self.count == self.size and self.least == self.greatest

    @property
    def mean(self) -> float:
        """Return the mean."""
        return self._mean / self.scale

    @property
    def std(self) -> float:
        """Return the standard deviation."""
        if self.constant:
            return 0.0
        return math.sqrt(self._deviation / self.count) / self.scale if self.count else math.nan

    @property
    def least(self) -> float:
        """Return the least number."""
        return float(self.lowest[0]) if self.lowest.size else math.nan

    @property
    def greatest(self) -> float:
        """Return the greatest number."""
        return float(self.highest[-1]) if self.highest.size else math.nan

    def without_empty_rows(self) -> "tuple[Tally, int]":
        """Return the counts without rows of zeros, and the number of such rows, if no other number is 0."""
        if self.rows is None or self.columns is None:
            return self, 0
        empty = self.rows.zeros == self.rows.length
        count = int(empty.sum())
        if not count or self.zeros != count * self.rows.length:
            return self, 0
        rest = copy.copy(self)
        rest.zeros, rest.count = 0, self.count - self.zeros
        rest.size = rest.count
        square = (self._deviation / self.count + self._mean**2) * self.count / rest.count
        rest._mean = self._mean * self.count / rest.count
        rest._deviation = max(square - rest._mean**2, 0.0) * rest.count
        rest.sample = self.sample[self.sample != 0]
        rest.rows = Lines(self.rows.length, *(values[~empty] for values in self.rows[1:]))
        lost = count * self.rows.length // len(self.columns.sums)
        rest.columns = Lines(self.columns.length - lost, *self.columns[1:])
        return rest, count

    def _parts(self, flat: Array) -> Iterator[Array]:
        """Cut a long row, so that copies in float64 stay small: between lines along the last axis, or in one."""
        last = self.shape[-1] if self.shape else 1
        if flat.size <= PIECE:
            yield flat
        elif last <= PIECE:
            step = PIECE // last * last
            yield from (flat[start : start + step] for start in range(0, flat.size, step))
        else:
            for line in flat.reshape(-1, last):
                yield from (line[start : start + PIECE] for start in range(0, last, PIECE))

    def _add(self, piece: Array, done: int, sample: list[Array]) -> None:
        with np.errstate(all="ignore"):
            flat = piece.astype(np.float64)
        finite = np.isfinite(flat)
        all_finite = bool(finite.all())
        if not all_finite:
            self.nans += int(np.isnan(flat).sum())
            self.infinities += int(np.isinf(flat).sum())
        values = flat if all_finite else flat[finite]
        self.zeros += values.size - int(np.count_nonzero(values))
        if values.size:
            self._add_moments(values)
            low = values if self.lowest.size < EXTREMES else values[values < self.lowest[-1]]
            high = values if self.highest.size < EXTREMES else values[values > self.highest[0]]
            self.lowest = np.sort(np.concatenate([self.lowest, _ends(low)]))[:EXTREMES]
            self.highest = np.sort(np.concatenate([self.highest, -_ends(-high)]))[-EXTREMES:]
        sample.append(flat[-done % self._stride :: self._stride].copy())
        if self.rows is not None or self.columns is not None:
            self._add_lines(piece, flat, done)

    def _add_moments(self, values: Array) -> None:
        largest = max(float(values.max()), -float(values.min()))
        scale = 1 / SCALE if largest > LARGEST else 1.0 if largest > 1 / LARGEST or not largest else SCALE
        if scale < self.scale:
            self._mean *= scale / self.scale
            self._deviation *= (scale / self.scale) ** 2
            self.scale = scale
        if self.scale != 1:
            values = values * self.scale
        # The mean and the deviation of two parts together: Chan, Golub, LeVeque 1979.
        mean, share = float(values.mean()), values.size / (self.count + values.size)
        difference = mean - self._mean
        self._deviation += float(np.square(values - mean).sum()) + difference**2 * self.count * share
        self._mean += difference * share
        self.count += values.size

    def _add_lines(self, piece: Array, flat: Array, done: int) -> None:
        row, last = self.size // self.shape[0], self.shape[-1]
        bits = piece.view(f"u{piece.itemsize}").astype(np.uint64)
        with np.errstate(all="ignore"):
            if self.rows is not None:
                width, first = min(row, flat.size), done // row  # the piece is rows, or a part of a row
                at, factors = slice(first, first + flat.size // width), _factors(done % row, width)
                self.rows.add(at, flat.reshape(-1, width), bits.reshape(-1, width), factors, 1)
            if self.columns is not None:
                width, first = min(last, flat.size), done % last
                at, factors = slice(first, first + width), _factors(done // last, flat.size // width)
                self.columns.add(at, flat.reshape(-1, width), bits.reshape(-1, width), factors, 0)


def _ends(values: Array) -> Array:
    """Return the least numbers, in any order."""
    return np.partition(values, EXTREMES)[:EXTREMES] if values.size > EXTREMES else values


def _stride(size: int, last: int) -> int:
    """Return the step of the sample; one that shares a factor with the last axis would miss columns."""
    stride = max(1, size // SAMPLE)
    while math.gcd(stride, max(last, 1)) > 1:
        stride += 1
    return stride


def _factors(start: int, count: int) -> Array:
    """Return an odd number of 64 bits for each index, by Steele's SplitMix."""
    x = (np.arange(start, start + count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) | np.uint64(1)

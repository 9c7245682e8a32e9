"""Tally: what is counted of a tensor while its pieces pass by, in memory that does not grow with it."""

import copy
import hashlib
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...files.readers.stored_tensor import PIECE, UnmeasuredError

Array = NDArray[Any]

SAMPLE = 2**16  # numbers that are kept
EXTREMES = 256  # numbers that are kept at each end
MOST_LINES = 2**22  # rows, or columns, up to which each is measured


class Lines(NamedTuple):
    """The rows or the columns of a tensor as a matrix: of each its length, sum, sum of squares, zeros and hash."""

    length: int
    sums: Array
    squares: Array
    zeros: Array
    hashes: Array

    @classmethod
    def of(cls, count: int, length: int) -> "Lines | None":
        """Lines of which nothing was counted yet; None for too many of them."""
        if count > MOST_LINES:
            return None
        return cls(length, np.zeros(count), np.zeros(count), np.zeros(count), np.zeros(count, np.uint64))

    def add(self, where: Any, values: Array, bits: Array, factors: Array, axis: int) -> None:
        """Count some numbers, and their bits times random factors, so that only equal lines have equal hashes."""
        self.sums[where] += values.sum(axis=axis)
        self.squares[where] += (values * values).sum(axis=axis)
        self.zeros[where] += (values == 0).sum(axis=axis)
        self.hashes[where] += bits @ factors if axis == 1 else factors @ bits


class Tally:
    """The counts of one tensor of floats.

    `rows` are those of the first axis, each with all other axes; `columns` those of the last, each with all axes
    before. Of the numbers that are finite: count, mean, std, the least and the greatest, and a sample spread evenly.
    """

    def __init__(self, shape: tuple[int, ...], pieces: Iterable[Array]) -> None:
        self.shape, self.size = shape, math.prod(shape)
        self.floats, self.bits = True, 64  # whether it holds floats, and of how many bits
        self.nans = self.infinities = self.zeros = self.count = 0
        self.mean = self._deviation = 0.0
        self.lowest = self.highest = np.empty(0)
        self.rows = self.columns = None
        if len(shape) >= 2 and self.size:
            self.rows = Lines.of(shape[0], self.size // shape[0])
            self.columns = Lines.of(shape[-1], self.size // shape[-1])
        digest = hashlib.blake2b(digest_size=16)
        self._stride = _stride(self.size, shape[-1] if shape else 1)
        kept: list[Array] = []
        done = 0
        for piece in pieces:
            if piece.dtype.kind == "c":
                raise UnmeasuredError("its numbers are complex")
            self.floats, self.bits = piece.dtype.kind == "f", 8 * piece.itemsize
            for part in self._parts(np.ascontiguousarray(piece).reshape(-1)):
                self._add(part, done, kept)
                digest.update(part.view(np.uint8).data)
                done += part.size
        self.digest = digest.digest()
        self.sample = np.concatenate(kept) if kept else np.empty(0)

    @property
    def constant(self) -> bool:
        """Whether all numbers are one."""
        return bool(self.count) and self.count == self.size and self.least == self.greatest

    @property
    def std(self) -> float:
        """The standard deviation."""
        if self.constant:
            return 0.0
        return math.sqrt(self._deviation / self.count) if self.count else math.nan

    @property
    def least(self) -> float:
        """The least number."""
        return float(self.lowest[0]) if self.lowest.size else math.nan

    @property
    def greatest(self) -> float:
        """The greatest number."""
        return float(self.highest[-1]) if self.highest.size else math.nan

    def without_empty_rows(self) -> "tuple[Tally, int]":
        """What was counted of the rows that are not all 0, and how many are: where nothing else is 0."""
        if self.rows is None or self.columns is None:
            return self, 0
        empty = self.rows.zeros == self.rows.length
        count = int(empty.sum())
        if not count or self.zeros != count * self.rows.length:
            return self, 0
        kept = copy.copy(self)
        kept.zeros, kept.count = 0, self.count - self.zeros
        kept.size = kept.count
        square = (self.std**2 + self.mean**2) * self.count / kept.count
        kept.mean = self.mean * self.count / kept.count
        kept._deviation = max(square - kept.mean**2, 0.0) * kept.count
        kept.sample = self.sample[self.sample != 0]
        kept.rows = Lines(self.rows.length, *(values[~empty] for values in self.rows[1:]))
        lost = count * self.rows.length // len(self.columns.sums)
        kept.columns = Lines(self.columns.length - lost, *self.columns[1:])
        return kept, count

    def _parts(self, flat: Array) -> Iterator[Array]:
        """Cut a long row, so that its copies in float64 stay small: between its lines along the last axis, or in one."""
        last = self.shape[-1] if self.shape else 1
        if flat.size <= PIECE:
            yield flat
        elif last <= PIECE:
            step = PIECE // last * last
            yield from (flat[start : start + step] for start in range(0, flat.size, step))
        else:
            for line in flat.reshape(-1, last):
                yield from (line[start : start + PIECE] for start in range(0, last, PIECE))

    def _add(self, piece: Array, done: int, kept: list[Array]) -> None:
        with np.errstate(all="ignore"):
            self._add_numbers(piece, done, kept)

    def _add_numbers(self, piece: Array, done: int, kept: list[Array]) -> None:
        flat = piece.astype(np.float64)
        finite = np.isfinite(flat)
        if not finite.all():
            self.nans += int(np.isnan(flat).sum())
            self.infinities += int(np.isinf(flat).sum())
        values = flat if finite.all() else flat[finite]
        self.zeros += int((values == 0).sum())
        if values.size:
            # Chan, Golub, LeVeque 1979: means and deviations of two parts, as one.
            mean, share = float(values.mean()), values.size / (self.count + values.size)
            off = mean - self.mean
            self._deviation += float(((values - mean) ** 2).sum()) + off * off * self.count * share
            self.mean += off * share
            self.count += values.size
            low = values if self.lowest.size < EXTREMES else values[values < self.lowest[-1]]
            high = values if self.highest.size < EXTREMES else values[values > self.highest[0]]
            self.lowest = np.sort(np.concatenate([self.lowest, _ends(low)]))[:EXTREMES]
            self.highest = np.sort(np.concatenate([self.highest, -_ends(-high)]))[-EXTREMES:]
        kept.append(flat[-done % self._stride :: self._stride].copy())
        if self.rows is not None or self.columns is not None:
            self._add_lines(piece, flat, done)

    def _add_lines(self, piece: Array, flat: Array, done: int) -> None:
        bits = piece.view(f"u{piece.itemsize}").astype(np.uint64)
        if self.rows is not None:
            row = self.size // self.shape[0]
            width, first = min(row, flat.size), done // row  # a piece is rows, or a part of one
            at, factors = slice(first, first + flat.size // width), _factors(done % row, width)
            self.rows.add(at, flat.reshape(-1, width), bits.reshape(-1, width), factors, 1)
        if self.columns is not None:
            last = self.shape[-1]
            width, first = min(last, flat.size), done % last
            at, factors = slice(first, first + width), _factors(done // last, flat.size // width)
            self.columns.add(at, flat.reshape(-1, width), bits.reshape(-1, width), factors, 0)


def _ends(values: Array) -> Array:
    """The least numbers, in any order."""
    return np.partition(values, EXTREMES)[:EXTREMES] if values.size > EXTREMES else values


def _stride(size: int, last: int) -> int:
    """One number in how many is kept: never a multiple of a part of a row, which would keep some columns alone."""
    stride = max(1, size // SAMPLE)
    while math.gcd(stride, max(last, 1)) > 1:
        stride += 1
    return stride


def _factors(start: int, count: int) -> Array:
    """An odd number of 64 bits for each index, by Steele's SplitMix: the same whenever it is asked for."""
    x = (np.arange(start, start + count, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) | np.uint64(1)

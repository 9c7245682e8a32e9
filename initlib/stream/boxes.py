"""Boxes: rectangular parts of a weight, their indices, and the pieces in which a large box is drawn."""

import math
import operator
from collections.abc import Iterator
from types import EllipsisType
from typing import NamedTuple, SupportsIndex

import numpy as np

IndexEntry = SupportsIndex | slice | EllipsisType
Index = IndexEntry | tuple[IndexEntry, ...]


class Part(NamedTuple):
    """A part of one axis that a box takes: `size` indices, from `start` on by `step`. `drop` removes the axis."""

    start: int
    step: int
    size: int
    drop: bool = False


Box = tuple[Part, ...]


def full_box(shape: tuple[int, ...]) -> Box:
    """Return the box that takes all of a shape."""
    return tuple(Part(0, 1, size) for size in shape)


def normalize_index(index: Index, shape: tuple[int, ...]) -> Box:
    """Return the box of an index: ints, slices and one `...`, as for an array."""
    entries = index if isinstance(index, tuple) else (index,)
    if Ellipsis not in [entry for entry in entries if not isinstance(entry, np.ndarray)]:
        entries = (*entries, Ellipsis)
    where = next(k for k, entry in enumerate(entries) if entry is Ellipsis)
    missing = len(shape) - (len(entries) - 1)
    if missing < 0:
        raise ValueError(f"index must name at most {len(shape)} axes of shape {shape}, got {index!r}")
    entries = (*entries[:where], *[slice(None)] * missing, *entries[where + 1 :])
    parts = []
    for axis, (entry, size) in enumerate(zip(entries, shape, strict=True)):
        if isinstance(entry, slice):
            try:
                start, stop, step = entry.indices(size)
            except TypeError:
                raise TypeError(f"index must be made of ints and slices of ints, got {index!r}") from None
            count = max(0, -(-(stop - start) // step))
            # One canonical form of empty parts and of single indices.
            parts.append(Part(start if count else 0, step if count > 1 else 1, count))
        elif isinstance(entry, SupportsIndex) and not isinstance(entry, (bool, np.bool_, np.ndarray)):
            at = operator.index(entry)
            if not -size <= at < size:
                raise ValueError(f"index must be inside axis {axis} of shape {shape}, got {at}")
            parts.append(Part(at % size, 1, 1, drop=True))
        else:
            raise TypeError(f"index must be an int, a slice, ... or a tuple of them, got {index!r}")
    return tuple(parts)


def box_shape(box: Box) -> tuple[int, ...]:
    """Return the shape of the array that a box takes."""
    return tuple(part.size for part in box if not part.drop)


def box_index(box: Box) -> tuple[int | slice, ...]:
    """Return the index that selects the box from an array of the full shape."""
    ends = [part.start + part.size * part.step for part in box]
    return tuple(
        part.start if part.drop else slice(part.start, end if end >= 0 else None, part.step)
        for part, end in zip(box, ends, strict=True)
    )


def part_inside(part: Part, taken: Part) -> Part:
    """Return the part of the axis that remains if `taken` is applied to the indices of `part`."""
    return Part(part.start + part.step * taken.start, part.step * taken.step, taken.size, taken.drop)


def box_inside(box: Box, index: Index) -> Box:
    """Return the box of the full weight that an index of a box selects. Dropped axes of the box count as axes."""
    return tuple(map(part_inside, box, normalize_index(index, tuple(part.size for part in box))))


class Piece(NamedTuple):
    """A piece of a shape: its place, its shape, and the row-major range [start, stop) of its weights."""

    place: tuple[int | slice, ...]  # the index of the piece
    shape: tuple[int, ...]
    start: int
    stop: int


class Pieces:
    """Pieces of a shape, in row-major order: each has at most `most` weights, and is contiguous in memory.

    The innermost axes that fit are full, and the next axis is cut. Each piece has one index of each outer axis.

    >>> for piece in Pieces((2, 3, 4), 8):
    ...     print(piece)
    Piece(place=(0, slice(0, 2, None)), shape=(2, 4), start=0, stop=8)
    Piece(place=(0, slice(2, 3, None)), shape=(1, 4), start=8, stop=12)
    Piece(place=(1, slice(0, 2, None)), shape=(2, 4), start=12, stop=20)
    Piece(place=(1, slice(2, 3, None)), shape=(1, 4), start=20, stop=24)
    """

    def __init__(self, shape: tuple[int, ...], most: int) -> None:
        self.shape = shape
        self.cut = max(len(shape) - 1, 0)  # the axis that is cut
        while self.cut and math.prod(shape[self.cut :]) <= most:
            self.cut -= 1
        self.row = math.prod(shape[self.cut + 1 :])
        self.step = max(1, most // max(1, self.row))
        self.per_row = -(-shape[self.cut] // self.step) if shape else 1

    def __len__(self) -> int:
        return math.prod(self.shape[: self.cut]) * self.per_row if math.prod(self.shape) else 0

    def __getitem__(self, number: int) -> Piece:
        if not 0 <= number < len(self):
            raise IndexError(number)
        if not self.shape:
            return Piece((), (), 0, 1)
        outer, inner = divmod(number, self.per_row)
        first = inner * self.step
        last = min(first + self.step, self.shape[self.cut])
        start = (outer * self.shape[self.cut] + first) * self.row
        before = [int(at) for at in np.unravel_index(outer, self.shape[: self.cut])]
        return Piece(
            (*before, slice(first, last)),
            (last - first, *self.shape[self.cut + 1 :]),
            start,
            start + (last - first) * self.row,
        )

    def __iter__(self) -> Iterator[Piece]:
        return (self[number] for number in range(len(self)))

    def sample(self, count: int) -> Iterator[Piece]:
        """Yield `count` pieces, spread evenly, including the first and the last."""
        numbers = {round(k * (len(self) - 1) / max(1, count - 1)) for k in range(count)} if len(self) else ()
        return (self[number] for number in sorted(numbers))


def normalize_range(flat: slice, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the start and the stop of a slice of the weights in row-major order."""
    if not isinstance(flat, slice):
        raise TypeError(f"flat must be a slice such as slice(0, 100), got {flat!r}")
    try:
        start, stop, step = flat.indices(math.prod(shape))
    except TypeError:
        raise TypeError(f"flat must be a slice of ints, got {flat!r}") from None
    if step != 1:
        raise ValueError(f"flat must have the step 1, got {flat!r}")
    return start, max(start, stop)


def flat_boxes(start: int, stop: int, shape: tuple[int, ...]) -> Iterator[tuple[slice, Box]]:
    """Yield the boxes that make up a slice of a weight in row-major order, each with its place in the slice.

    Each axis but the first gives at most two boxes. For a matrix: the rest of a row, full rows, and the start of a row.

    >>> for place, box in flat_boxes(2, 9, (3, 4)):
    ...     print(place, box_index(box))
    slice(0, 2, None) (slice(0, 1, 1), slice(2, 4, 1))
    slice(2, 6, None) (slice(1, 2, 1), slice(0, 4, 1))
    slice(6, 7, None) (slice(2, 3, 1), slice(0, 1, 1))
    """
    sizes = shape or (1,)  # a scalar is a row of one weight
    strides = [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    at = start
    while at < stop:
        # The outermost axis where full rows begin here, and where at least one row ends before the stop.
        axis = next((k for k, stride in enumerate(strides) if at % stride == 0 and at + stride <= stop), len(sizes) - 1)
        index = [at // stride % size for stride, size in zip(strides, sizes, strict=True)]
        count = min((stop - at) // strides[axis], sizes[axis] - index[axis])
        before = [Part(place, 1, 1) for place in index[:axis]]
        parts = (*before, Part(index[axis], 1, count), *full_box(sizes[axis + 1 :]))
        taken = count * strides[axis]
        yield slice(at - start, at - start + taken), parts[: len(shape)]
        at += taken

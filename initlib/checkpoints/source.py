"""Source of foreign weights: the slice of a plan's weights that a tensor holds in place of its own."""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..dtypes import numpy_dtype
from ..key import Key
from ..plans.entry import Entry
from ..stream.boxes import Piece
from .held import HeldBox, Place, Read, Values, same_bits

WINDOW = 8  # neighbouring weights whose bits identify a place
MOST = 2**26  # weights that one comparison may draw for all its searches
CALL = 2**12  # weights whose draw takes as long as a call


class Foreign(NamedTuple):
    """Weights of a held box that differ from the plan's: the box, its reader, and the place of the first weight."""

    held: HeldBox
    read: Read
    place: tuple[int, ...]  # in the full tensor

    @property
    def local(self) -> list[int]:
        """Return the index of the first weight in the box."""
        return [(at - part.start) // part.step for at, part in zip(self.place, self.held.box, strict=True)]

    def window(self, axis: int = 0, distance: int = 0) -> tuple[Values, Place]:
        """Return a few neighbours along the last axis, at a distance along an axis, and their index in the tensor."""
        shape, local = self.held.shape, self.local
        local[axis] += distance
        size = min(WINDOW, shape[-1])
        first = min(local[-1], shape[-1] - size)
        start = int(np.ravel_multi_index((*local[:-1], first), shape))
        piece = Piece((*local[:-1], slice(first, first + size)), (size,), start, start + size)
        return self.read(piece).reshape(-1), self.held.place(piece)


class Source:
    """A search in the weights of a plan, with a limit on the number of draws."""

    def __init__(self, entries: Sequence[Entry], key: Key) -> None:
        self._entries = entries
        self._key = key
        self._left = MOST

    def find(self, entry: Entry, foreign: Foreign) -> str | None:
        """Describe the slice of the same weight, or the other weight, that stands in the place of an entry."""
        if not foreign.local:
            return None
        pattern, place = foreign.window()
        if pattern.dtype != numpy_dtype(entry.parameter.dtype):
            return None  # computed in another dtype
        if pattern.size < 2 or same_bits(pattern[1:], pattern[:1]).all():
            return None  # constants identify no place
        for axis in range(len(place)):
            for start in self._starts(entry, place, axis, pattern):
                return self._text(entry, foreign, axis, start, "the same weight")
        others = [other for other in self._entries if other is not entry and _is_like(other, entry)]
        for other in others:
            if self._has(other, place, pattern):
                return self._text(other, foreign, 0, _start(place[0]), other.parameter.name)
        for other in others:
            for start in self._starts(other, place, 0, pattern):
                return self._text(other, foreign, 0, start, other.parameter.name)
        return None

    def _starts(self, entry: Entry, place: Place, axis: int, pattern: Values) -> Iterator[int]:
        """Yield where along an axis an entry's weights have the bits of a pattern."""
        drawn = self._drawn(entry, (*place[:axis], slice(0, entry.parameter.shape[axis]), *place[axis + 1 :]))
        if drawn is None:
            return
        if axis == len(place) - 1:
            if drawn.size < pattern.size:
                return
            drawn = sliding_window_view(drawn, pattern.size)
        yield from map(int, np.flatnonzero(same_bits(drawn, pattern).all(axis=-1)))

    def _has(self, entry: Entry, place: Place, pattern: Values) -> bool:
        """Return whether an entry's weights have the bits of a pattern at a place."""
        ends = (at.stop if isinstance(at, slice) else at + 1 for at in place)
        if any(end > size for end, size in zip(ends, entry.parameter.shape, strict=True)):
            return False
        drawn = self._drawn(entry, place)
        return drawn is not None and drawn.shape == pattern.shape and bool(same_bits(drawn, pattern).all())

    def _drawn(self, entry: Entry, place: Place) -> Values | None:
        """Return a box of an entry's weights; None if the entry keeps weights, or if no more may be drawn."""
        if not entry.filled:
            return None
        sizes = (len(range(at.start, at.stop, at.step or 1)) for at in place if isinstance(at, slice))
        self._left -= CALL + (entry.parameter.size if entry.requires_full_draw else math.prod(sizes))
        return None if self._left < 0 else entry.draw(self._key, place)

    def _text(self, entry: Entry, foreign: Foreign, axis: int, start: int, name: str) -> str:
        """Describe the slice of an entry's weights that stands in a foreign place, from the `start` of its window."""
        _, place = foreign.window()
        origin = _start(place[axis])
        local, size = foreign.local[axis], foreign.held.shape[axis]

        def is_same(distance: int) -> bool:
            pattern, there = foreign.window(axis, distance)
            at = start + _start(there[axis]) - origin
            moved = slice(at, at + pattern.size) if axis == len(there) - 1 else at
            return self._has(entry, (*there[:axis], moved, *there[axis + 1 :]), pattern)

        count = bisect_left(range(size - local), True, lo=1, key=lambda distance: not is_same(distance))
        if axis == len(place) - 1 and count < size - local:
            count += WINDOW - 1  # the rest of the last window
        part = foreign.held.box[axis]
        first = start + part.start + part.step * local - origin
        if name == entry.parameter.name and first == part.start and count == size:
            return name
        return f"{_slice(axis, len(place), first, count)} of {name}"


def _is_like(other: Entry, entry: Entry) -> bool:
    """Return whether two stored tensors have one dtype, and equal sizes but for the first axis."""
    first, second = other.parameter, entry.parameter
    return (first.dtype, len(first.shape), first.shape[1:]) == (second.dtype, len(second.shape), second.shape[1:])


def _start(at: int | slice) -> int:
    return int(at.start) if isinstance(at, slice) else at


def _slice(axis: int, ndim: int, first: int, count: int) -> str:
    """Describe a slice along one axis."""
    words = [("weight", "weights")] if ndim == 1 else [("row", "rows"), ("column", "columns")]
    one, several = words[axis] if ndim <= 2 else ("index", "indices")
    numbers = f"{one} {first}" if count == 1 else f"{several} {first}..{first + count - 1}"
    return numbers if ndim <= 2 else f"{numbers} of axis {axis}"

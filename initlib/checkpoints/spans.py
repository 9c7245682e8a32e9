"""A stored tensor, cut into boxes that lie one after another in memory."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..plans.entry import Entry
from ..schemes.initializer import Initializer


class Span(NamedTuple):
    """One box: its index into the tensor, its shape, its first weight in memory and the one behind its last."""

    box: tuple[int | slice, ...]
    shape: tuple[int, ...]
    start: int
    stop: int


class Spans:
    """The boxes of a tensor, each of at most `most` weights: a sequence that makes its items on demand.

    >>> for span in Spans((2, 3, 4), 8):
    ...     print(span)
    Span(box=(0, slice(0, 2, None)), shape=(2, 4), start=0, stop=8)
    Span(box=(0, slice(2, 3, None)), shape=(1, 4), start=8, stop=12)
    Span(box=(1, slice(0, 2, None)), shape=(2, 4), start=12, stop=20)
    Span(box=(1, slice(2, 3, None)), shape=(1, 4), start=20, stop=24)

    A box holds all of the innermost axes that fit, a range of the axis before them, and one index of the outer axes.
    """

    def __init__(self, shape: tuple[int, ...], most: int) -> None:
        self.shape = shape
        self.cut = max(len(shape) - 1, 0)  # the axis that is cut
        while self.cut and math.prod(shape[self.cut :]) <= most:
            self.cut -= 1
        self.row = math.prod(shape[self.cut + 1 :])
        self.step = max(1, most // max(1, self.row))
        self.pieces = -(-shape[self.cut] // self.step) if shape else 1

    def __len__(self) -> int:
        return math.prod(self.shape[: self.cut]) * self.pieces if math.prod(self.shape) else 0

    def __getitem__(self, number: int) -> Span:
        if not 0 <= number < len(self):
            raise IndexError(number)
        if not self.shape:
            return Span((), (), 0, 1)
        outer, piece = divmod(number, self.pieces)
        first = piece * self.step
        last = min(first + self.step, self.shape[self.cut])
        start = (outer * self.shape[self.cut] + first) * self.row
        before = [int(at) for at in np.unravel_index(outer, self.shape[: self.cut])]
        return Span(
            (*before, slice(first, last)),
            (last - first, *self.shape[self.cut + 1 :]),
            start,
            start + (last - first) * self.row,
        )

    def __iter__(self) -> Iterator[Span]:
        return (self[number] for number in range(len(self)))

    def sample(self, count: int) -> Iterator[Span]:
        """Return `count` of the boxes, spread evenly from the first to the last."""
        numbers = {round(k * (len(self) - 1) / max(1, count - 1)) for k in range(count)} if len(self) else ()
        return (self[number] for number in sorted(numbers))


def spans(entry: Entry, most: int) -> Spans:
    """Return the boxes in which an entry is drawn: of at most `most` weights, or one box if each costs a full draw."""
    initializers = (piece.initializer for piece in entry.pieces)
    full = any(isinstance(init, Initializer) and init.requires_full_draw for init in initializers)
    return Spans(entry.parameter.shape, entry.parameter.size if full else most)

"""Overlaps: the boxes of two tensors that hold the same weights."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ...stream.boxes import normalize_index

Index = tuple[int | slice, ...]  # one entry for each axis


class Overlap(NamedTuple):
    """A box of one tensor (`outer`) with the weights of a box of another (`inner`): paired slices, and ints."""

    outer: Index
    inner: Index


def identity_overlap(shape: tuple[int, ...]) -> Overlap:
    """Return the overlap of a tensor with itself."""
    index = tuple(slice(0, size) for size in shape)
    return Overlap(index, index)


def cut(overlaps: Iterable[Overlap], index: Any, shape: tuple[int, ...]) -> Iterator[Overlap]:
    """Yield the overlaps with the box that an index takes of a tensor of that shape.

    >>> halves = [Overlap((slice(0, 4),), (slice(0, 4),)), Overlap((slice(4, 8),), (slice(0, 4),))]
    >>> list(cut(halves, slice(3, 6), (8,)))
    [Overlap(outer=(slice(0, 1, None),), inner=(slice(3, 4, None),)),
     Overlap(outer=(slice(1, 3, None),), inner=(slice(0, 2, None),))]
    """
    taken = normalize_index(index, shape)
    outer = tuple(slice(0, part.size) for part in taken if not part.drop)
    inner = tuple(part.start if part.drop else _slice(part.start, part.step, part.size) for part in taken)
    joined = (join(Overlap(outer, inner), overlap) for overlap in overlaps)
    return (overlap for overlap in joined if overlap is not None)


def join(first: Overlap, second: Overlap) -> Overlap | None:
    """Return the overlap of A with C, given the overlaps of A with B and of B with C; None without an overlap.

    The slices of `first.outer`, `second.outer` and `second.inner` have step 1; those of `first.inner` any.
    """
    outer: list[int | slice] = []
    inner: list[int | slice] = []
    outer_slices, inner_slices = iter(first.outer), iter(second.inner)
    for mine, its in zip(first.inner, second.outer, strict=True):
        a = _next_slice(outer_slices, outer) if isinstance(mine, slice) else None
        c = _next_slice(inner_slices, inner) if isinstance(its, slice) else None
        begin, end, start, step = _meet(mine, its)
        if begin >= end:
            return None
        if a is not None:
            outer.append(slice(a.start + begin, a.start + end) if c is not None else a.start + begin)
        if c is not None:
            inner.append(_slice(c.start + start, step, end - begin) if a is not None else c.start + start)
    return Overlap((*outer, *outer_slices), (*inner, *inner_slices))


def place_in(index: Index, place: Index) -> Index:
    """Return the index of a place inside the box of an index. The place may leave out the last axes.

    >>> place_in((3, slice(4, 10), slice(0, 5)), (slice(2, 4),))
    (3, slice(6, 8, None), slice(0, 5, None))
    """
    places = iter(place)
    return tuple(_entry_in(entry, next(places, None)) if isinstance(entry, slice) else entry for entry in index)


def _entry_in(entry: slice, taken: int | slice | None) -> int | slice:
    """Return the entry for an int or a slice inside the range of an entry; None stands for all of the range."""
    step = entry.step or 1
    if isinstance(taken, slice):
        return _slice(entry.start + step * taken.start, step, taken.stop - taken.start)
    return entry if taken is None else int(entry.start + step * taken)


def _next_slice(entries: Iterator[int | slice], passed: list[int | slice]) -> slice:
    """Return the next slice; append the ints before the slice to `passed`."""
    for entry in entries:
        if isinstance(entry, slice):
            return entry
        passed.append(entry)
    raise ValueError("an overlap must have the same number of slices on both sides")


def _meet(mine: int | slice, its: int | slice) -> tuple[int, int, int, int]:
    """Return where a run of any step lies in a run of step 1.

    The result is the first and the last-but-one of its items that lie there, the distance of the first from the start
    of the other run, and the step.
    """
    start, step, count = _run(mine)
    low, _, size = _run(its)
    if step > 0:
        begin, end = -((start - low) // step), -((start - low - size) // step)
    else:
        begin, end = -((low + size - 1 - start) // -step), (start - low) // -step + 1
    begin, end = max(0, begin), min(count, end)
    return begin, end, start + begin * step - low, step


def _run(entry: int | slice) -> tuple[int, int, int]:
    """Return the start, step and count of the indices that an entry takes."""
    if not isinstance(entry, slice):
        return entry, 1, 1
    step = entry.step or 1
    stop = -1 if entry.stop is None else entry.stop
    return entry.start, step, max(0, -((entry.start - stop) // step))


def _slice(start: int, step: int, count: int) -> slice:
    """Return the slice of `count` indices from `start` on by `step`."""
    stop = start + step * count
    return slice(start, stop if stop >= 0 else None, None if step == 1 else step)

"""Boxes: which part of one tensor lies where in another."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ..draws.runs import normalize_index

__all__ = ["Box", "Index", "cut", "join", "whole"]

Index = tuple[int | slice, ...]  # one entry an axis


class Box(NamedTuple):
    """`outer[outer_index]` and `inner[inner_index]` are the same weights: their shapes are equal."""

    outer: Index
    inner: Index


def whole(shape: tuple[int, ...]) -> Box:
    """A tensor that lies in itself."""
    index = tuple(slice(0, size) for size in shape)
    return Box(index, index)


def _slice(start: int, step: int, count: int) -> slice:
    """`count` indices from `start` on by `step`, none of which is below 0."""
    stop = start + step * count
    return slice(start, stop if stop >= 0 else None) if step == 1 else slice(start, stop if stop >= 0 else None, step)


def _range(entry: slice) -> tuple[int, int, int]:
    """The start, step and count of a slice of this module's making."""
    step = entry.step or 1
    stop = entry.stop if entry.stop is not None else -1
    return entry.start, step, max(0, -(-(stop - entry.start) // step))


def _overlap(first: slice, second: slice) -> tuple[int, int, int]:
    """From which to before which index of `first`, a run of any step, `second`, a run of step 1, holds it; and by how
    much those lie after the start of `second`.
    """
    start, step, count = _range(first)
    low, _, size = _range(second)
    high = low + size
    if step > 0:
        begin, end = -(-(low - start) // step), -(-(high - start) // step)
    else:
        begin, end = (start - high) // -step + 1, (start - low) // -step + 1
    begin, end = max(0, begin), min(count, end)
    return begin, end, start + begin * step - low


def join(first: Box, second: Box) -> Box | None:
    """The box of A in C, from one of A in B and one of B in C; None where they do not meet.

    The slices of `second.outer` have step 1.
    """
    outer, inner = list[int | slice](), list[int | slice]()
    to_a, to_c = iter(first.outer), iter(second.inner)

    def following(entries: Iterator[int | slice], into: list[int | slice]) -> slice:
        """The next slice; the ints before it, which have no partner, stay."""
        for entry in entries:
            if isinstance(entry, slice):
                return entry
            into.append(entry)
        raise AssertionError("a box has as many slices on both sides")

    for mine, its in zip(first.inner, second.outer, strict=True):
        a = following(to_a, outer) if isinstance(mine, slice) else None
        c = following(to_c, inner) if isinstance(its, slice) else None
        held = its if isinstance(its, slice) else slice(its, its + 1)
        taken = mine if isinstance(mine, slice) else slice(mine, mine + 1)
        begin, end, offset = _overlap(taken, held)
        if begin >= end:
            return None
        if a is not None:
            start = a.start + begin
            outer.append(slice(start, start + end - begin) if c is not None else start)
        if c is not None:
            start = c.start + offset
            inner.append(_slice(start, _range(taken)[1], end - begin) if a is not None else start)
    return Box((*outer, *to_a), (*inner, *to_c))  # type: ignore[arg-type]


def cut(boxes: Iterable[Box], index: Any, shape: tuple[int, ...]) -> Iterator[Box]:
    """The boxes of a tensor of that shape, as boxes of what an index takes of it."""
    taken = normalize_index(index, shape)
    inner = tuple(part.start if part.drop else _slice(part.start, part.step, part.size) for part in taken)
    outer = tuple(slice(0, part.size) for part in taken if not part.drop)
    for box in boxes:
        joined = join(Box(outer, inner), box)
        if joined is not None:
            yield joined

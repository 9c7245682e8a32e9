"""Runs: which position goes where in memory, for any box of a weight in any storage."""

import itertools
import math
import operator
from functools import lru_cache
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from ..axes import Factor, numbering

__all__ = ["Part", "Runs", "box_index", "box_shape", "normalize_index", "runs"]

ROW = 1024  # a row takes in axes, innermost first, until it holds this many weights
PATTERN = 8192  # how many weights a pattern spans at most: it stays in the first-level cache
PLAIN = 32768  # the same where positions and memory both run on by one, and no pattern is needed


class Part(NamedTuple):
    """What an index takes of one axis: `size` of them, from `start` on by `step`; an int drops the axis."""

    start: int
    step: int
    size: int
    drop: bool


class Loop(NamedTuple):
    """A loop that moves the position and the memory offset (in items), each by a constant."""

    size: int
    position: int
    memory: int


class Runs(NamedTuple):
    """Rows of weights: item k of block b of row r has the position `bases[r] + b * step + pattern[k]` (modulo 2**64)
    and lies at `offsets[r] + b * stride + scatter[k]`. None is 0, 1, 2 … The kernel takes them in this order.
    """

    bases: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    row: int  # weights in a row
    block: int  # weights in a block of it; the last one may hold fewer
    step: int
    stride: int
    pattern: NDArray[np.uint32] | None
    scatter: NDArray[np.int64] | None

    @property
    def blocks(self) -> int:
        """How many blocks there are in all rows."""
        return len(self.bases) * -(-self.row // self.block)


def normalize_index(index: Any, shape: tuple[int, ...]) -> tuple[Part, ...]:
    """What an index (ints, slices, one `...`, as for an array) takes of each axis."""
    entries = index if isinstance(index, tuple) else (index,)
    if Ellipsis not in [entry for entry in entries if not isinstance(entry, np.ndarray)]:
        entries = (*entries, Ellipsis)
    where = next(k for k, entry in enumerate(entries) if entry is Ellipsis)
    missing = len(shape) - (len(entries) - 1)
    if missing < 0:
        raise ValueError(f"index {index!r} names {len(entries) - 1} axes, shape {shape} has {len(shape)}")
    entries = (*entries[:where], *[slice(None)] * missing, *entries[where + 1 :])
    parts = []
    for axis, (entry, size) in enumerate(zip(entries, shape, strict=True)):
        if isinstance(entry, slice):
            try:
                start, stop, step = entry.indices(size)
            except TypeError:
                raise TypeError(f"index {index!r} must be made of ints and slices of ints") from None
            parts.append(Part(start, step, len(range(start, stop, step)), False))
        elif isinstance(entry, SupportsIndex) and not isinstance(entry, (bool, np.bool_, np.ndarray)):
            at = operator.index(entry)
            if not -size <= at < size:
                raise ValueError(f"index {at} is outside axis {axis} of shape {shape}")
            parts.append(Part(at % size, 1, 1, True))
        else:
            raise TypeError(f"index must be an int, a slice, ... or a tuple of them, got {index!r}")
    return tuple(parts)


def box_shape(box: tuple[Part, ...]) -> tuple[int, ...]:
    """The shape of what an index takes."""
    return tuple(part.size for part in box if not part.drop)


def box_index(box: tuple[Part, ...]) -> tuple[Any, ...]:
    """An index of whole arrays that takes what the box takes."""
    ends = [part.start + part.size * part.step for part in box]
    return tuple(
        part.start if part.drop else slice(part.start, end if end >= 0 else None, part.step)
        for part, end in zip(box, ends, strict=True)
    )


def _split(part: Part, factors: tuple[Factor, ...], memory: int) -> list[tuple[int, int, list[Loop]]]:
    """The affine pieces of one axis of a box: each a position, a memory offset and loops.

    An axis that packs kernels is affine inside each kernel; whole kernels in a row make one piece of two loops.
    """
    start, step, count, _ = part
    outer, rest = factors[0], factors[1:]
    if not rest:
        return [(start * outer.stride, 0, [Loop(count, step * outer.stride, memory)])]
    size = outer.step  # of one packed kernel
    pieces = []
    done = 0
    while done < count:
        kernel, inside = divmod(start + done * step, size)
        whole = (count - done) // size if step == 1 and inside == 0 else 0
        if whole > 1:
            taken, lead = whole * size, [Loop(whole, outer.stride, size * memory)]
            inner = Part(0, 1, size, False)
        else:
            left = (size - 1 - inside) // step if step > 0 else inside // -step
            taken, lead = min(left + 1, count - done), []
            inner = Part(inside, step, taken, False)
        for position, offset, loops in _split(inner, rest, memory):
            pieces.append((kernel * outer.stride + position, done * memory + offset, lead + loops))
        done += taken
    return pieces


def _coalesce(loops: list[Loop]) -> list[Loop]:
    """Sorted by memory, outermost first, with neighbours merged that run on as one."""
    merged: list[Loop] = []
    for loop in sorted((loop for loop in loops if loop.size > 1), key=lambda loop: -abs(loop.memory)):
        if merged and merged[-1][1:] == (loop.position * loop.size, loop.memory * loop.size):
            merged[-1] = Loop(merged[-1].size * loop.size, loop.position, loop.memory)
        else:
            merged.append(loop)
    return merged or [Loop(1, 1, 1)]


def _offsets(loops: list[Loop], field: int, dtype: type[np.integer[Any]]) -> NDArray[Any]:
    """The sum of index * stride over nested loops, flat, row-major."""
    total = np.zeros(1, dtype)
    modulo = 2**64 if dtype is np.uint64 else 2**65
    for loop in loops:
        stride = np.array([loop[field] % modulo if dtype is np.uint64 else loop[field]], dtype)
        total = (total[:, None] + np.arange(loop.size).astype(dtype) * stride).ravel()
    return total


def _spread(loops: list[Loop]) -> int:
    """How far apart the positions of the loops lie."""
    return sum((loop.size - 1) * abs(loop.position) for loop in loops)


def _runs(position: int, offset: int, loops: list[Loop]) -> Runs:
    """The runs of one affine nest of loops."""
    loops = _coalesce(loops)
    inner = len(loops) - 1
    while inner > 0 and math.prod(loop.size for loop in loops[inner:]) < ROW and _spread(loops[inner:]) < 2**32:
        inner -= 1
    head, tail = loops[inner], loops[inner + 1 :]
    width = math.prod(loop.size for loop in tail)
    plain = not tail and head.position == 1 and head.memory == 1
    most = (PLAIN if plain else PATTERN) // width
    if head.position:  # a pattern's entries are 32 bits
        most = min(most, (2**32 - 1 - _spread(tail)) // abs(head.position) + 1)
    count = max(1, min(head.size, most))
    span = [Loop(count, head.position, head.memory), *tail]
    pattern = scatter = None
    if not plain:
        # A step back makes positions fall: start from the lowest one.
        lowest = sum((loop.size - 1) * min(loop.position, 0) for loop in span)
        pattern = (_offsets(span, 1, np.uint64) - np.array([lowest % 2**64], np.uint64)).astype(np.uint32)
        position += lowest
        scatter = _offsets(span, 2, np.int64)
        if np.array_equal(scatter, np.arange(len(scatter))):
            scatter = None
    return Runs(
        bases=_offsets(loops[:inner], 1, np.uint64) + np.array([position % 2**64], np.uint64),
        offsets=_offsets(loops[:inner], 2, np.int64) + offset,
        row=head.size * width,
        block=count * width,
        step=(count * head.position) % 2**64,
        stride=count * head.memory,
        pattern=pattern,
        scatter=scatter,
    )


@lru_cache(maxsize=64)
def runs(
    shape: tuple[int, ...], axes: str | None, box: tuple[Part, ...] | None, memory: tuple[int, ...] | None
) -> tuple[Runs, ...]:
    """The runs that fill a box of a weight (None: all of it) into memory of these strides, in items (None: dense).

    `memory` has one stride for each axis that the box keeps; offsets count from the lowest item.
    """
    if box is None:
        box = tuple(Part(0, 1, size, False) for size in shape)
    kept = box_shape(box)
    if 0 in kept:
        return ()
    if memory is None:
        memory = tuple(math.prod(kept[axis + 1 :]) for axis in range(len(kept)))
    lowest = sum((count - 1) * min(stride, 0) for count, stride in zip(kept, memory, strict=True))
    strides = iter(memory)
    axis_pieces = [
        _split(part, factors, 0 if part.drop else next(strides))
        for part, factors in zip(box, numbering(shape, axes), strict=True)
    ]
    return tuple(
        _runs(
            sum(position for position, _, _ in pieces),
            sum(offset for _, offset, _ in pieces) - lowest,
            [loop for _, _, loops in pieces for loop in loops],
        )
        for pieces in itertools.product(*axis_pieces)
    )

"""Runs: which position goes where in memory, for any box of a weight in any storage."""

import itertools
import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..axes import Factor, canonical
from .boxes import Box, Part, box_shape, whole_box

__all__ = ["Runs", "runs"]

ROW = 1024  # a row takes in axes, innermost first, until it holds this many weights
PATTERN = 8192  # how many weights a pattern spans at most: it stays in the first-level cache
PLAIN = 32768  # the same where positions and memory both run on by one, and no pattern is needed


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


def _split(part: Part, factors: tuple[Factor, ...], memory: int) -> list[tuple[int, int, list[Loop]]]:
    """The affine pieces of one axis of a box: each a position, a memory offset and loops.

    An axis that packs kernels is affine inside each kernel; whole kernels in a row make one piece of two loops.
    """
    start, step, count = part.start, part.step, part.size
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
            inner = Part(0, 1, size)
        else:
            left = (size - 1 - inside) // step if step > 0 else inside // -step
            taken, lead = min(left + 1, count - done), []
            inner = Part(inside, step, taken)
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
def runs(shape: tuple[int, ...], axes: str | None, box: Box | None, memory: tuple[int, ...] | None) -> tuple[Runs, ...]:
    """The runs that fill a box of a weight (None: all of it) into memory of these strides, in items (None: dense).

    `memory` has one stride for each axis that the box keeps; offsets count from the lowest item.

    Columns 1, 3 and 5 of a PyTorch linear weight (2, 6): position = 2 * input + output. All six weights make one block:
    from position 2 on, a row of memory steps by 4, and the next row starts 1 later.

    >>> columns = (Part(0, 1, 2), Part(1, 2, 3))
    >>> (piece,) = runs((2, 6), "OI", columns, None)
    >>> piece.bases.tolist(), piece.pattern.tolist(), piece.offsets.tolist(), piece.scatter
    ([2], [0, 4, 8, 1, 5, 9], [0], None)
    """
    if box is None:
        box = whole_box(shape)
    kept = box_shape(box)
    if 0 in kept:
        return ()
    if memory is None:
        memory = tuple(math.prod(kept[axis + 1 :]) for axis in range(len(kept)))
    lowest = sum((count - 1) * min(stride, 0) for count, stride in zip(kept, memory, strict=True))
    strides = iter(memory)
    axis_pieces = [
        _split(part, factors, 0 if part.drop else next(strides))
        for part, factors in zip(box, canonical(shape, axes).factors, strict=True)
    ]
    return tuple(
        _runs(
            sum(position for position, _, _ in pieces),
            sum(offset for _, offset, _ in pieces) - lowest,
            [loop for _, _, loops in pieces for loop in loops],
        )
        for pieces in itertools.product(*axis_pieces)
    )

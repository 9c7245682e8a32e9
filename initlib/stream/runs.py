"""Runs: places in memory of positions, for any box of a weight in any storage."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .boxes import Box
from .loops import Loop, Nest, nests

ROW = 1024  # a row takes in axes, innermost first, until it holds this many weights
PATTERN = 8192  # weights of a pattern, at most: the pattern stays in the first-level cache
PLAIN = 32768  # the same where positions and memory both step by one, and no pattern is needed


class Runs(NamedTuple):
    """Rows of weights: item k of block b of row r has the position `bases[r] + b * step + pattern[k]` (modulo 2**64)
    and lies at `offsets[r] + b * stride + scatter[k]`. None is 0, 1, 2 … The kernel takes them in this order.
    """

    bases: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    row: int  # weights in a row
    block: int  # weights in a block of a row; the last block may hold fewer
    step: int
    stride: int
    pattern: NDArray[np.uint32] | None
    scatter: NDArray[np.int64] | None


def _offsets(loops: Sequence[Loop], field: int, dtype: type[np.integer[Any]]) -> NDArray[Any]:
    """Return the sum of index * stride over nested loops, flat, row-major."""
    total = np.zeros(1, dtype)
    for loop in loops:
        stride = np.array([loop[field] % 2**64 if dtype is np.uint64 else loop[field]], dtype)
        total = (total[:, None] + np.arange(loop.size).astype(dtype) * stride).ravel()
    return total


def _spread(loops: Sequence[Loop]) -> int:
    """Return the distance between the lowest and the highest position of the loops."""
    return sum((loop.size - 1) * abs(loop.position) for loop in loops)


def _runs(nest: Nest) -> Runs:
    """Return the runs of one nest."""
    position, offset, loops = nest
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
        # Positions fall where a step is negative: count from the lowest position.
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
    """Return the runs that fill memory with a box of a weight; the arguments are as for `nests`.

    Columns 1, 3 and 5 of a PyTorch linear weight (2, 6): position = 2 * input + output. All six weights make one block:
    from position 2 on, a row of memory steps by 4, and the next row starts 1 later.

    >>> from initlib.stream.boxes import Part
    >>> columns = (Part(0, 1, 2), Part(1, 2, 3))
    >>> (piece,) = runs((2, 6), "OI", columns, None)
    >>> piece.bases.tolist(), piece.pattern.tolist(), piece.offsets.tolist(), piece.scatter
    ([2], [0, 4, 8, 1, 5, 9], [0], None)
    """
    return tuple(map(_runs, nests(shape, axes, box, memory)))

"""Loops: a box of a weight, in any memory, as nests of loops that move the position and the memory by constants."""

import itertools
import math
from collections.abc import Iterable
from typing import NamedTuple

from ..axes import Factor, canonical
from .boxes import Box, Part, box_shape, full_box


class Loop(NamedTuple):
    """A loop that moves the position and the memory offset (in items), each by a constant."""

    size: int
    position: int
    memory: int


class Nest(NamedTuple):
    """Loops, outermost first, that start at a position and a memory offset."""

    position: int
    offset: int
    loops: tuple[Loop, ...]


def nests(
    shape: tuple[int, ...], axes: str | None, box: Box | None, memory: tuple[int, ...] | None
) -> tuple[Nest, ...]:
    """Return the nests that fill memory of these strides, in items (None: dense), with a box (None: the full weight).

    `memory` has one stride for each axis that the box keeps; offsets count from the lowest item.
    """
    if box is None:
        box = full_box(shape)
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
        Nest(
            sum(position for position, _, _ in pieces),
            sum(offset for _, offset, _ in pieces) - lowest,
            coalesce(loop for _, _, loops in pieces for loop in loops),
        )
        for pieces in itertools.product(*axis_pieces)
    )


def _split(part: Part, factors: tuple[Factor, ...], memory: int) -> list[Nest]:
    """Return the affine pieces of one axis of a box.

    An axis that packs kernels is affine inside each kernel. After a period of indices, the place inside a kernel
    repeats, some kernels further on. One period is a few pieces, and a loop over them makes all periods. With a step
    of 1, a period is one kernel.
    """
    start, step, count = part.start, part.step, part.size
    outer, rest = factors[0], factors[1:]
    if not rest:
        return [Nest(start * outer.stride, 0, (Loop(count, step * outer.stride, memory),))]
    size = outer.step  # of one packed kernel
    common = math.gcd(size, step)
    period, kernels = size // common, step // common
    pieces = []
    done = 0
    while done < count:
        kernel, inside = divmod(start + done * step, size)
        enters = not 0 <= inside - step < size  # the index before belongs to another kernel
        periods = (count - done) // period if enters else 0
        if periods > 1:
            taken = periods * period
            lead: tuple[Loop, ...] = (Loop(periods, kernels * outer.stride, period * memory),)
            inner = _split(Part(start + done * step, step, period), factors, memory)
        else:
            left = (size - 1 - inside) // step if step > 0 else inside // -step
            taken, lead = min(left + 1, count - done), ()
            inner = _split(Part(inside, step, taken), rest, memory)
            inner = [nest._replace(position=kernel * outer.stride + nest.position) for nest in inner]
        for position, offset, loops in inner:
            pieces.append(Nest(position, done * memory + offset, lead + loops))
        done += taken
    return pieces


def coalesce(loops: Iterable[Loop]) -> tuple[Loop, ...]:
    """Return the loops sorted by memory, outermost first. A loop that continues its neighbour is merged."""
    merged: list[Loop] = []
    for loop in sorted((loop for loop in loops if loop.size > 1), key=lambda loop: -abs(loop.memory)):
        if merged and merged[-1][1:] == (loop.position * loop.size, loop.memory * loop.size):
            merged[-1] = Loop(merged[-1].size * loop.size, loop.position, loop.memory)
        else:
            merged.append(loop)
    return tuple(merged) or (Loop(1, 1, 1),)

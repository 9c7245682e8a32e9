"""Launches: the nests that fill a box of a weight, each small enough for a GPU kernel with 32-bit integers."""

import math
from collections.abc import Iterator
from functools import lru_cache

from .boxes import Box
from .loops import Loop, Nest, coalesce, nests

MOST = 2**30  # weights of a launch, at most


class Launch(Nest):
    """A nest whose loops all raise the position, by less than 2**32 in all, in memory of less than 2**31 items."""

    @property
    def weights(self) -> int:
        """Return the number of weights."""
        return math.prod(loop.size for loop in self.loops)

    @property
    def dense(self) -> bool:
        """Return True if the weights follow each other in memory."""
        return all(
            loop.memory == math.prod(inner.size for inner in self.loops[at + 1 :]) for at, loop in enumerate(self.loops)
        )


@lru_cache(maxsize=256)
def launches(
    shape: tuple[int, ...], axes: str | None, box: Box | None, memory: tuple[int, ...], depth: int
) -> tuple[Launch, ...]:
    """Return the launches, of at most `depth` loops, that fill a box of a weight; the other arguments are of `nests`.

    Columns 1, 3 and 5 of a PyTorch linear weight (2, 6): position = 2 * input + output. From position 2 on, a row of
    memory steps by 4, and the next row starts 1 later.

    >>> from initlib.stream.boxes import Part
    >>> (launch,) = launches((2, 6), "OI", (Part(0, 1, 2), Part(1, 2, 3)), (3, 1), depth=4)
    >>> launch.position, *launch.loops
    (2, Loop(size=2, position=1, memory=3), Loop(size=3, position=4, memory=1))
    """
    return tuple(launch for nest in nests(shape, axes, box, memory) for launch in _cut(nest, depth))


def _cut(nest: Nest, depth: int) -> Iterator[Launch]:
    """Yield the launch of a nest, or the launches of the two halves of a loop where one launch would be too large."""
    launch = _rising(nest)
    position, offset, loops = launch
    positions = [(loop.size - 1) * loop.position for loop in loops]
    places = [(loop.size - 1) * abs(loop.memory) for loop in loops]
    sizes = [loop.size for loop in loops]
    if launch.weights > MOST:
        at = sizes.index(max(sizes))
    elif sum(positions) >= 2**32:
        at = positions.index(max(positions))
    elif sum(places) >= 2**31:
        at = places.index(max(places))
    elif len(loops) > depth:
        at = sizes.index(min(sizes))
    else:
        yield launch
        return
    loop = loops[at]
    half = loop.size // 2
    for start, size in ((0, half), (half, loop.size - half)):
        moved = (position + start * loop.position, offset + start * loop.memory)
        yield from _cut(Nest(*moved, (*loops[:at], loop._replace(size=size), *loops[at + 1 :])), depth)


def _rising(nest: Nest) -> Launch:
    """Return the same weights with every loop that lowers the position reversed."""
    position, offset, loops = nest
    rising = []
    for loop in loops:
        if loop.position < 0:
            position += (loop.size - 1) * loop.position
            offset += (loop.size - 1) * loop.memory
            loop = Loop(loop.size, -loop.position, -loop.memory)
        rising.append(loop)
    return Launch(position, offset, coalesce(rising))


def reciprocal(size: int) -> tuple[int, int]:
    """Return a multiplier and a shift with (k * multiplier >> 32) >> shift == k // size, for 0 <= k < 2**31.

    Granlund, Montgomery. Division by invariant integers using multiplication. 1994.
    """
    shift = (size - 1).bit_length() - 1
    return -(-(2 ** (32 + shift)) // size), shift

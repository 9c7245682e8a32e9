"""Boxes: what an index takes of a weight, and the pieces that a large one is drawn in."""

import itertools
import math
import operator
from collections.abc import Iterator
from typing import Any, NamedTuple, SupportsIndex

import numpy as np


class Part(NamedTuple):
    """What an index takes of one axis: `size` of them, from `start` on by `step`; an int drops the axis."""

    start: int
    step: int
    size: int
    drop: bool = False


Box = tuple[Part, ...]


def whole_box(shape: tuple[int, ...]) -> Box:
    """The box that takes all of a shape."""
    return tuple(Part(0, 1, size) for size in shape)


def normalize_index(index: Any, shape: tuple[int, ...]) -> Box:
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
            count = max(0, -(-(stop - start) // step))
            parts.append(Part(start, step if count > 1 else 1, count))  # of one, any step takes the same
        elif isinstance(entry, SupportsIndex) and not isinstance(entry, (bool, np.bool_, np.ndarray)):
            at = operator.index(entry)
            if not -size <= at < size:
                raise ValueError(f"index {at} is outside axis {axis} of shape {shape}")
            parts.append(Part(at % size, 1, 1, drop=True))
        else:
            raise TypeError(f"index must be an int, a slice, ... or a tuple of them, got {index!r}")
    return tuple(parts)


def box_shape(box: Box) -> tuple[int, ...]:
    """The shape of what an index takes."""
    return tuple(part.size for part in box if not part.drop)


def box_index(box: Box) -> tuple[Any, ...]:
    """An index of whole arrays that takes what the box takes."""
    ends = [part.start + part.size * part.step for part in box]
    return tuple(
        part.start if part.drop else slice(part.start, end if end >= 0 else None, part.step)
        for part, end in zip(box, ends, strict=True)
    )


def pieces(box: Box, most: int) -> Iterator[tuple[tuple[slice, ...], Box]]:
    """Smaller boxes that cover a box, of at most so many weights, each with its place in the box.

    One axis is cut and those inside it are taken whole, so that a piece lies together in memory.
    """
    sizes = [part.size for part in box]
    if 0 in sizes:
        return
    inner = len(box)
    while inner > 0 and math.prod(sizes[inner - 1 :]) <= most:
        inner -= 1
    whole = [slice(0, size) for size in sizes[inner:]]
    if inner == 0:
        yield tuple(whole), box
        return
    cut = inner - 1
    step = max(1, most // math.prod(sizes[inner:]))
    for outer in itertools.product(*map(range, sizes[:cut])):
        for start in range(0, sizes[cut], step):
            place = (*(slice(at, at + 1) for at in outer), slice(start, min(start + step, sizes[cut])), *whole)
            yield (
                place,
                tuple(
                    Part(part.start + part.step * taken.start, part.step, taken.stop - taken.start, part.drop)
                    for part, taken in zip(box, place, strict=True)
                ),
            )


def normalize_range(flat: Any, shape: tuple[int, ...]) -> tuple[int, int]:
    """The start and the stop of a range of the stored weights, numbered row-major."""
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
    """The boxes that a row-major range of a weight is made of, each with its place in the range.

    At most two for each axis but the first: the rest of a row that is cut, whole rows, the begin of another row.

    >>> for place, box in flat_boxes(2, 9, (3, 4)):
    ...     print(place, box_index(box))
    slice(0, 2, None) (slice(0, 1, 1), slice(2, 4, 1))
    slice(2, 6, None) (slice(1, 2, 1), slice(0, 4, 1))
    slice(6, 7, None) (slice(2, 3, 1), slice(0, 1, 1))
    """
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    at = start
    while at < stop:
        # The outermost axis whose whole rows begin here, and of which at least one ends before the stop.
        axis = next((k for k, stride in enumerate(strides) if at % stride == 0 and at + stride <= stop), len(shape) - 1)
        index = [at // stride % size for stride, size in zip(strides, shape, strict=True)]
        count = min((stop - at) // strides[axis], shape[axis] - index[axis]) if shape else 1
        parts = [Part(place, 1, 1) for place in index[:axis]]
        if shape:
            parts += [Part(index[axis], 1, count), *whole_box(shape[axis + 1 :])]
        taken = count * (strides[axis] if shape else 1)
        yield slice(at - start, at - start + taken), tuple(parts)
        at += taken

"""Compiled kernel: one call fills the memory of many weights, or of one, with boxes of any strides."""

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from ..dtypes import DTYPES
from . import config, threads
from . import reference as stream
from .boxes import Box
from .engine import DrawRequest
from .law import Law
from .runs import runs

CODES = {"uint32": 0} | {name: dtype.kernel for name, dtype in DTYPES.items()}
_C0, _C1, _C2, _C3 = stream.COLUMNS
_TABLE = np.stack([_C0, _C1, _C2 << 17 | _C3 & 0xFFFF])  # for the kernel: c2 and c3 fit 16 bits each


# The memory of a weight or box: where its lowest item is, its strides in items (None: row-major, without gaps), and the
# number of items from the lowest to the highest. Memory behind an address must be valid, writable and aligned until the
# fill has returned: the kernel cannot check. A plain tuple, because a named one would slow down small draws.
Start = NDArray[Any] | int
Memory = tuple[Start, tuple[int, ...] | None, int]
Group = tuple[list[Start], list[int]]  # the starts of memory, and the seeds of the keys
# What the weights of a group share: law, shape, axes and box, and the strides and the span of memory.
Alike = tuple[Law, tuple[int, ...], str | None, Box | None, tuple[int, ...] | None, int]


def draws(dtype: str) -> bool:
    """Return whether the compiled kernel is available and draws weights of a dtype."""
    return config.kernel is not None and CODES[dtype] is not None


class Batch:
    """Weights that one call draws, in any order: threads share the batch as one large weight."""

    def __init__(self) -> None:
        self._groups: defaultdict[Alike, Group] = defaultdict(lambda: ([], []))

    def group(self, memory: Memory, law: Law, request: DrawRequest) -> Group:
        """Return the group of weights, or boxes, that differ from this weight in their memory and their key alone.

        A weight enters the batch when its start is appended to the first list, and the seed of its key to the second.
        """
        _, strides, span = memory
        shape, axes, _, _, box, _ = request
        return self._groups[law, shape, axes, box, strides, span]

    def fill(self, advance: threads.Advance | None = None) -> None:
        """Check all weights, then draw them, and call `advance` after each part and at the end."""
        groups = []
        for alike, (starts, keys) in self._groups.items():
            tensors = tuple(starts), tuple(keys)
            groups += [group + tensors for group in _without_tensors(*alike)]
        _draw(tuple(groups), advance)


def fill(memory: Memory, law: Law, request: DrawRequest) -> None:
    """Fill memory, of the dtype of the law and the shape of the box, with the box of the weight."""
    start, strides, span = memory
    shape, axes, _, key, box, _ = request
    tensor = (start,), (key.seed,)
    _draw(tuple([group + tensor for group in _without_tensors(law, shape, axes, box, strides, span)]))


@lru_cache(maxsize=64)
def _without_tensors(
    law: Law, shape: tuple[int, ...], axes: str | None, box: Box | None, strides: tuple[int, ...] | None, span: int
) -> tuple[tuple[Any, ...], ...]:
    """Return the arguments of the kernel's `draw` for weights with these properties, without memory and keys."""
    window, *clamp_scale_mean, dtype = law
    numbers = (CODES[dtype], window is not None, *(window or (0, 0)), *clamp_scale_mean)
    return tuple((*numbers, *run, span) for run in runs(shape, axes, box, strides))


def _draw(groups: tuple[tuple[Any, ...], ...], advance: threads.Advance | None = None) -> None:
    """Draw groups by one call of the kernel, which first checks all groups. Many weights are drawn on threads."""
    kernel = config.kernel
    assert kernel is not None
    job, weights = kernel.draw(config.path, _TABLE, groups, 2 * threads.LEAST)
    if job is not None:
        threads.share(partial(kernel.fill, job), weights, advance)
    if advance is not None:
        advance(weights, weights)


def memory_of(out: NDArray[Any]) -> Memory:
    """Return the memory of an array; raise ValueError if the kernel cannot fill the memory."""
    if in_order(out):
        return out, None, out.size
    strides, span = item_strides(out)
    lowest = out[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in strides)]
    return as_strided(lowest, (span,), (out.itemsize,)), strides, span


def in_order(out: NDArray[Any]) -> bool:
    """Return whether the items of an array follow each other in memory."""
    flags = out.flags
    return flags.c_contiguous and flags.aligned


def item_strides(out: NDArray[Any]) -> tuple[tuple[int, ...], int]:
    """Return the strides and the span of an array, in items; raise ValueError if the array cannot be filled."""
    steps = [stride if size > 1 else 0 for size, stride in zip(out.shape, out.strides, strict=True)]
    if not out.flags.aligned or any(step % out.itemsize for step in steps):
        raise ValueError(f"out must be aligned to its items of {out.itemsize} bytes, got strides {out.strides}")
    memory = tuple(step // out.itemsize for step in steps)
    span = 1 + sum(abs(stride) * (size - 1) for stride, size in zip(memory, out.shape, strict=True))
    if overlaps_itself(out.shape, memory, span):
        raise ValueError(f"out must not overlap itself, got shape {out.shape} and strides {out.strides}")
    return memory, span


def overlaps_itself(shape: Sequence[int], strides: Sequence[int], span: int) -> bool:
    """Return whether two items of an array have the same place in memory; the array spans `span` items."""
    steps = [abs(stride) for stride in strides]
    reach = 0
    for step, size in sorted(zip(steps, shape, strict=True)):
        if size > 1 and step <= reach:
            break  # the smaller steps may reach the same place
        reach += step * (size - 1)
    else:
        return False
    if math.prod(shape) > span:
        return True
    marks = np.zeros(span, bool)  # in at most the memory that the array spans
    as_strided(marks, tuple(shape), steps)[...] = True
    return int(np.count_nonzero(marks)) < math.prod(shape)

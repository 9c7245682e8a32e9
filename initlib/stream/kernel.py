"""Compiled kernel as a function that fills memory of any strides with a box of a weight."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from ..dtypes import DTYPES
from . import config
from . import reference as stream
from .boxes import Box
from .law import Law
from .runs import runs
from .threads import share

CODES = {"uint32": 0} | {name: dtype.kernel for name, dtype in DTYPES.items()}
_C0, _C1, _C2, _C3 = stream.COLUMNS
_TABLE = np.stack([_C0, _C1, _C2 << 17 | _C3 & 0xFFFF])  # for the kernel: c2 and c3 fit 16 bits each


def fill(out: NDArray[Any], law: Law, key: int, shape: tuple[int, ...], axes: str | None, box: Box | None) -> None:
    """Fill `out`, of the dtype of the law and the shape of the box, with a box of the weight (None: the full one)."""
    kernel, path, code = config.kernel, config.path, CODES[law.dtype]
    assert kernel is not None
    if in_order(out):
        memory, flat = None, out
    else:
        memory, span = item_strides(out)
        lowest = out[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in memory)]
        flat = as_strided(lowest, (span,), (out.itemsize,))
    window, *clamp_scale_mean, _ = law
    drawn = (path, flat, code, key, window is not None, *(window or (0, 0)), *clamp_scale_mean, _TABLE)
    for run in runs(shape, axes, box, memory):
        work = partial(kernel.fill, *drawn, *run)
        share(work, run.blocks, run.block, run.row * len(run.bases))


def in_order(out: NDArray[Any]) -> bool:
    """Return whether the items of an array follow each other in memory."""
    flags = out.flags
    return flags.c_contiguous and flags.aligned


def item_strides(out: NDArray[Any]) -> tuple[tuple[int, ...], int]:
    """Return the strides of an array in items, and the items it spans; raise ValueError where none can be filled."""
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

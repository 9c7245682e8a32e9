"""Views: boxes of a tensor from views of its memory."""

import math
from typing import Any, NamedTuple

from torch import Tensor

from initlib.stream.boxes import Box, Part, full_box

from ..drawing.memory import extent
from ..models.shared_memory import same_memory


class View(NamedTuple):
    """A view of the memory of a tensor, with the axes of the tensor, and the index and the parts of the same box."""

    memory: Tensor
    index: Any
    box: Box | None  # None: the full tensor


def overlap(view: Tensor, full: Tensor) -> bool:
    """Return whether the ranges of two views, from their first to their last byte in one storage, overlap."""
    start, other = view.data_ptr(), full.data_ptr()
    return start < other + extent(full) * full.itemsize and other < start + extent(view) * view.itemsize


def box_of(view: Tensor, full: Tensor) -> View | None:
    """Return the box of a tensor that a view of its memory shows; None if the view shows no box.

    The view may come from slices, ints, permutations and axes of size 1. A view of contiguous memory may also have
    another shape, of all the tensor or of some of its rows.
    """
    if same_memory(view, full):
        return View(view, ..., None)
    return _rows(view, full) or _sliced(view, full)


def _rows(view: Tensor, full: Tensor) -> View | None:
    """Return the box of rows that a view of another shape is."""
    if not (view.is_contiguous() and full.is_contiguous()) or full.ndim == 0:
        return None
    shape = tuple(full.shape)
    row = math.prod(shape[1:])
    start = view.storage_offset() - full.storage_offset()
    if row == 0 or start % row or view.numel() % row or not 0 <= start <= full.numel() - view.numel():
        return None
    first, count = start // row, view.numel() // row
    rows = slice(first, first + count)
    return View(full.detach()[rows], (rows,), (Part(first, 1, count), *full_box(shape[1:])))


def _sliced(view: Tensor, full: Tensor) -> View | None:
    """Return the box that slices and permutations made."""
    strides, shape = full.stride(), full.shape
    order = sorted((axis for axis, size in enumerate(shape) if size > 1), key=lambda axis: -strides[axis])
    rest = int(view.storage_offset() - full.storage_offset())
    starts = [0] * len(shape)
    for axis in order:
        starts[axis], rest = divmod(rest, strides[axis])
    if rest or view.dtype is not full.dtype:
        return None
    kept: dict[int, tuple[int, int, int]] = {}  # by axes of the full tensor: the axis of the view, its size, its step
    for axis, (size, stride) in enumerate(zip(view.shape, view.stride(), strict=True)):
        if size > 1:
            along = next((a for a in order if stride and stride % strides[a] == 0), None)
            if along is None or along in kept:
                return None
            kept[along] = axis, size, stride // strides[along]
    index: list[Any] = []
    box: list[Part] = []
    for axis, start in enumerate(starts):
        _, size, step = kept.get(axis, (0, 1, 1))
        last = start + (size - 1) * step
        if not 0 <= start <= last < shape[axis]:
            return None
        index.append(slice(start, last + 1, step) if axis in kept else start)
        box.append(Part(start, step, size, axis not in kept))
    axes = [kept[axis][0] for axis in sorted(kept)]
    memory = view.detach()
    if axes != list(range(view.ndim)):
        memory = memory.permute([*axes, *(axis for axis in range(view.ndim) if axis not in axes)])
        memory = memory.reshape(memory.shape[: len(axes)])
    return View(memory, tuple(index), tuple(box))

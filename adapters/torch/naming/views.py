"""Views: boxes of a tensor from views of its memory."""

import math
from typing import Any, NamedTuple

from torch import Tensor

from ..drawing.memory import extent
from ..models.shared_memory import same_memory


class View(NamedTuple):
    """A view of the memory of a tensor, with the axes of the tensor, and the index of the same box."""

    memory: Tensor
    index: Any


def overlap(view: Tensor, full: Tensor) -> bool:
    """Return whether the ranges of two views, from their first to their last element in one storage, overlap."""
    start, other = view.storage_offset(), full.storage_offset()
    return start < other + extent(full) and other < start + extent(view)


def box_of(view: Tensor, full: Tensor) -> View | None:
    """Return the box of a tensor that a view of its memory shows; None if the view shows no box.

    The view may come from slices, ints, permutations and axes of size 1. A view of contiguous memory may also have
    another shape, of all the tensor or of some of its rows.
    """
    if same_memory(view, full):
        return View(view, ...)
    return _rows(view, full) or _sliced(view, full)


def _rows(view: Tensor, full: Tensor) -> View | None:
    """Return the box of rows that a view of another shape is."""
    if not (view.is_contiguous() and full.is_contiguous()) or full.ndim == 0:
        return None
    row = math.prod(full.shape[1:])
    start = view.storage_offset() - full.storage_offset()
    if row == 0 or start % row or view.numel() % row or not 0 <= start <= full.numel() - view.numel():
        return None
    rows = slice(start // row, (start + view.numel()) // row)
    return View(full.detach()[rows], (rows,))


def _sliced(view: Tensor, full: Tensor) -> View | None:
    """Return the box that slices and permutations made."""
    strides = full.stride()
    order = sorted(range(full.ndim), key=lambda axis: -strides[axis])
    rest = view.storage_offset() - full.storage_offset()
    index: list[Any] = [0] * full.ndim
    for axis in order:
        if full.shape[axis] > 1:
            index[axis], rest = divmod(int(rest), strides[axis])
    kept: dict[int, int] = {}  # the axis of the full tensor along which each axis of the view runs
    for axis in range(view.ndim):
        size, stride = view.shape[axis], view.stride(axis)
        if size > 1:
            along = next((a for a in order if full.shape[a] > 1 and stride % strides[a] == 0), None)
            if along is None or along in kept.values():
                return None
            kept[axis] = along
            step = stride // strides[along]
            index[along] = slice(index[along], index[along] + (size - 1) * step + 1, step)
    axes = sorted(kept, key=kept.__getitem__)
    memory = view.detach().permute([*axes, *(axis for axis in range(view.ndim) if axis not in kept)])
    memory = memory.reshape(memory.shape[: len(axes)])
    try:
        taken = full.detach()[tuple(index)]
    except IndexError:
        return None
    return View(memory, tuple(index)) if same_memory(memory, taken) else None

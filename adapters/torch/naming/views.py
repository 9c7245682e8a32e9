"""Views: which box of a tensor a view of its memory is."""

import math
from typing import Any, NamedTuple

from torch import Tensor


class View(NamedTuple):
    """Memory of a tensor, arranged as the tensor is, and the index that takes it."""

    memory: Tensor
    index: Any


def same_memory(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same elements, in the same order."""
    return (one.data_ptr(), one.shape, one.stride()) == (other.data_ptr(), other.shape, other.stride())


def overlap(view: Tensor, whole: Tensor) -> bool:
    """Whether a view of some storage has an element between the first and the last of another."""
    start, other = view.storage_offset(), whole.storage_offset()
    return start < other + _extent(whole) and other < start + _extent(view)


def _extent(tensor: Tensor) -> int:
    """From the first element to after the last one in memory."""
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def box_of(view: Tensor, whole: Tensor) -> View | None:
    """The box of `whole` that is the memory of a view of it; None where it is no box.

    Slices, ints, permutations and axes of size 1 are followed; and, of memory without gaps, other shapes of all of it
    or of some of its rows.
    """
    if same_memory(view, whole):
        return View(view, ...)
    return _rows(view, whole) or _sliced(view, whole)


def _rows(view: Tensor, whole: Tensor) -> View | None:
    """The box of rows that a view of another shape is."""
    if not (view.is_contiguous() and whole.is_contiguous()) or whole.ndim == 0:
        return None
    row = math.prod(whole.shape[1:])
    start = view.storage_offset() - whole.storage_offset()
    if row == 0 or start % row or view.numel() % row or not 0 <= start <= whole.numel() - view.numel():
        return None
    rows = slice(start // row, (start + view.numel()) // row)
    return View(whole.detach()[rows], (rows,))


def _sliced(view: Tensor, whole: Tensor) -> View | None:
    """The box that slices and permutations made."""
    strides = whole.stride()
    order = sorted(range(whole.ndim), key=lambda axis: -strides[axis])
    rest = view.storage_offset() - whole.storage_offset()
    index: list[Any] = [0] * whole.ndim
    for axis in order:
        if whole.shape[axis] > 1:
            index[axis], rest = divmod(int(rest), strides[axis])
    kept: dict[int, int] = {}  # the axis of the whole that each axis of the view runs along
    for axis in range(view.ndim):
        size, stride = view.shape[axis], view.stride(axis)
        if size > 1:
            along = next((a for a in order if whole.shape[a] > 1 and stride % strides[a] == 0), None)
            if along is None or along in kept.values():
                return None
            kept[axis] = along
            step = stride // strides[along]
            index[along] = slice(index[along], index[along] + (size - 1) * step + 1, step)
    axes = sorted(kept, key=kept.__getitem__)
    memory = view.detach().permute([*axes, *(axis for axis in range(view.ndim) if axis not in kept)])
    memory = memory.reshape(memory.shape[: len(axes)])
    try:
        taken = whole.detach()[tuple(index)]
    except IndexError:
        return None
    return View(memory, tuple(index)) if same_memory(memory, taken) else None

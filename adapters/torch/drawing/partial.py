"""Slices of weights: the slice of the full weight that a plain tensor holds (Megatron, ZeRO)."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from initlib._arguments import Shape, checked_shape
from initlib.stream.boxes import Box, Index, box_shape, flat_boxes, normalize_index, normalize_range

from .._private import is_dtensor


class Held(NamedTuple):
    """Shape of the full weight, and the box or the row-major range that the tensor holds."""

    shape: tuple[int, ...]
    box: Box | None
    start: int = 0
    stop: int = 0

    def boxes(self, tensor: Tensor) -> Iterator[tuple[Tensor, Box]]:
        """Yield views of the tensor, each with the box of the weight that it holds."""
        if self.box is not None:
            yield tensor, self.box
            return
        for place, box in flat_boxes(self.start, self.stop, self.shape):
            yield tensor[place].view(box_shape(box)), box


def held(tensor: Tensor, shape: Shape | None, index: Index | None, flat: slice | None) -> Held | None:
    """Return the slice that the arguments describe; None if the tensor is the full weight.

    Raises TypeError or ValueError unless the slice has the shape of the tensor.
    """
    if shape is None:
        if index is not None or flat is not None:
            raise ValueError(
                f"shape must be the shape of the full weight if index or flat is given, got None and {index or flat!r}"
            )
        return None
    if is_dtensor(tensor):
        raise ValueError(f"shape must be None for a DTensor, got {shape!r}. A DTensor already states its slice")
    if index is not None and flat is not None:
        raise ValueError(f"index and flat must not both be given, got {index!r} and {flat!r}")
    sizes = checked_shape(shape)
    taken: tuple[int, ...]
    if flat is not None:
        start, stop = normalize_range(flat, sizes)
        part, taken = Held(sizes, None, start, stop), (stop - start,)
    else:
        box = normalize_index(... if index is None else index, sizes)
        part, taken = Held(sizes, box), box_shape(box)
    if tuple(tensor.shape) != taken:
        raise ValueError(f"tensor must have the shape {taken} of its slice of shape {sizes}, got {tuple(tensor.shape)}")
    return part


def full_weight(tensor: Tensor, shape: Shape | None) -> Tensor:
    """Return the tensor itself or, if it holds a slice, a tensor of the full shape without memory."""
    return tensor if shape is None else torch.empty(checked_shape(shape), device="meta")

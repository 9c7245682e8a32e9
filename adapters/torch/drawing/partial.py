"""Held: which part of a bigger weight a plain tensor is, as ranks hold it that no DTensor tells."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from initlib._arguments import Shape, checked_shape
from initlib.stream.boxes import Box, box_shape, flat_boxes, normalize_index, normalize_range

from .._private import is_dtensor


class Held(NamedTuple):
    """The shape of the whole weight, and the box or the row-major range of it that the tensor is."""

    shape: tuple[int, ...]
    box: Box | None
    start: int = 0
    stop: int = 0

    def boxes(self, tensor: Tensor) -> Iterator[tuple[Tensor, Box]]:
        """The views of the tensor, each with the box that it is."""
        if self.box is not None:
            yield tensor, self.box
            return
        for place, box in flat_boxes(self.start, self.stop, self.shape):
            yield tensor[place].view(box_shape(box)), box


def held(tensor: Tensor, shape: Shape | None, index: Any, flat: Any) -> Held | None:
    """What the arguments say; None where the tensor is the whole weight.

    Raises TypeError or ValueError unless they say of which weight, and take of it what fits the tensor.
    """
    if shape is None:
        if index is not None or flat is not None:
            raise ValueError(
                f"shape must be the whole weight's, of which index or flat take a part; got {index or flat!r}"
            )
        return None
    if is_dtensor(tensor):
        raise ValueError("tensor is a DTensor, which knows its part of the weight; shape is for other tensors")
    if index is not None and flat is not None:
        raise ValueError(f"index and flat both say which part the tensor is; give one, got {index!r} and {flat!r}")
    sizes = checked_shape(shape)
    taken: tuple[int, ...]
    if flat is not None:
        start, stop = normalize_range(flat, sizes)
        found, taken = Held(sizes, None, start, stop), (stop - start,)
    else:
        box = normalize_index(... if index is None else index, sizes)
        found, taken = Held(sizes, box), box_shape(box)
    if tuple(tensor.shape) != taken:
        raise ValueError(
            f"tensor has shape {tuple(tensor.shape)}, and the part of shape {sizes} that it is has {taken}"
        )
    return found


def whole(tensor: Tensor, shape: Shape | None) -> Tensor:
    """The weight that a tensor is or, without memory, the one of that shape that it is a part of."""
    return tensor if shape is None else torch.empty(checked_shape(shape), device="meta")

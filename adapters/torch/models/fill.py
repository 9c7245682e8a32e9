"""Filling: what a plan's entry says, put into a tensor, whole or on the shards that this rank holds."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from initlib import Key
from initlib.plans.entry import Entry
from initlib.plans.packing.logical_weights import LogicalWeight, is_made_whole
from initlib.stream.boxes import box_index, box_shape, flat_boxes, normalize_index
from initlib.stream.engine import DrawRequest

from .._private import is_dtensor, is_observed
from ..drawing import memory
from .tensors import ModelTensor


def check(weight: ModelTensor) -> None:
    """Raise TypeError, ValueError or RuntimeError unless the memory of the weight can be filled."""
    memory.check(weight.tensor)
    for _ in _memories(weight):  # which raises for sums over ranks
        pass


def fill(weight: ModelTensor, entry: Entry, key: Key) -> None:
    """Fill a weight of the model, under the key of the whole model."""
    if entry.kept or memory.has_no_storage(weight.tensor):
        return
    fill_stored(weight, entry, key)
    if weight.magnitude is not None:
        _normalize(weight)


def fill_stored(weight: ModelTensor, entry: Entry, key: Key) -> None:
    """Fill what this rank holds of the stored tensor."""
    for view, index in _memories(weight):
        fill_box(view, entry, index, key)
    if is_dtensor(weight.tensor):
        torch.autograd.graph.increment_version(weight.tensor)


def fill_box(view: Tensor, entry: Entry, index: Any, key: Key) -> None:
    """Fill memory that holds what the index takes of a stored tensor."""
    for piece, boxes in groupby(entry.boxes(index), key=lambda box: box[0]):
        _put(view, piece, [(outer, inner) for _, outer, inner in boxes], key)


def _memories(weight: ModelTensor) -> Iterator[tuple[Tensor, Any]]:
    """The views of the memory that is here, each with the index of the weight that it holds."""
    tensor, flat = weight.tensor, weight.flat
    if flat is not None:
        for place, box in flat_boxes(flat.start, flat.start + tensor.numel(), flat.shape):
            yield tensor[place].view(box_shape(box)), box_index(box)
    elif is_dtensor(tensor):
        from ..drawing.dtensor import shards

        for view, box in shards(tensor):
            yield view, box_index(box)
    else:
        yield tensor, ...


def _put(view: Tensor, piece: LogicalWeight, boxes: list[tuple[Any, Any]], key: Key) -> None:
    """Put boxes of one weight into a view: pairs of the index into the view and the index into the weight."""
    initializer, dtype = piece.initializer, memory.DTYPES[view.dtype]
    if isinstance(initializer, np.ndarray) or (len(boxes) > 1 and is_made_whole(initializer)):
        whole = piece.draw(dtype, key)  # each box of it alone would cost as much
        for outer, inner in boxes:
            some = whole[inner]
            view[outer].copy_(torch.from_numpy(some.astype("float32") if some.itemsize == 2 else some))
        return
    for outer, inner in boxes:
        box = normalize_index(inner, piece.shape)
        drawn = DrawRequest(piece.shape, piece.axes, dtype, key.fold_in(piece.stream), box)
        memory.place(view[outer], initializer, drawn, observed=is_observed())


def _normalize(weight: ModelTensor) -> None:
    """Set the magnitudes of a weight-normed weight to the norms of its direction: then it is what was drawn."""
    direction, magnitude = weight.tensor, weight.magnitude
    assert magnitude is not None
    kept = None if magnitude.axis == -1 else magnitude.axis % direction.ndim
    axes = [axis for axis in range(direction.ndim) if axis != kept]
    norms = torch.linalg.vector_norm(direction, dim=axes, keepdim=kept is not None) if axes else direction.abs()
    magnitude.place.tensor.copy_(norms)
    direction.add_(norms == 0)  # a direction of no length is none; of a weight of 0, any will do
    if magnitude.hook is not None:
        module = magnitude.place.module
        setattr(module, magnitude.hook.name, magnitude.hook.compute_weight(module))

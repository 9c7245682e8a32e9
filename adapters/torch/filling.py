"""Filling: what a plan's entry says, put into a tensor, whole or on the shards that this rank holds."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from initlib.dtypes import rounded
from initlib.key import Key
from initlib.models.entry import Entry
from initlib.models.pieces import Piece
from initlib.schemes.composed import Composed, Indexed

from . import memory
from .parameters import Weight

__all__ = ["check", "fill"]


def check(tensor: Tensor) -> None:
    """Raise TypeError, ValueError or RuntimeError unless the memory of the tensor can be filled."""
    memory.check(tensor)
    for _ in _boxes(tensor):  # which raises for sums over ranks
        pass


def fill(weight: Weight, entry: Entry, key: Key) -> None:
    """Fill a tensor of the model, under the key of the whole model."""
    if entry.kept or memory.untouchable(weight.tensor):
        return
    for view, index in _boxes(weight.tensor):
        for piece, boxes in groupby(entry.boxes(index), key=lambda box: box[0]):
            _put(view, piece, [(outer, inner) for _, outer, inner in boxes], key)
    if memory._is_sharded(weight.tensor):
        memory._increment_version(weight.tensor)
    if weight.magnitude is not None:
        _normalize(weight)


def _boxes(tensor: Tensor) -> Iterator[tuple[Tensor, Any]]:
    """The views of the memory that is here, each with the index of the tensor that it holds."""
    if not memory._is_sharded(tensor):
        yield tensor, ...
        return
    from .shards import shards

    for view, box in shards(tensor):
        yield view, tuple(slice(part.start, part.stop, part.step) for part in box)


def _put(view: Tensor, piece: Piece, boxes: list[tuple[Any, Any]], key: Key) -> None:
    """Put boxes of one weight into a view: pairs of the index into the view and the index into the weight."""
    initializer: Any = piece.initializer
    name = memory.DTYPES[view.dtype]
    if isinstance(initializer, np.ndarray):
        values: Any = rounded(initializer, name)
    elif len(boxes) > 1 and isinstance(initializer, Composed) and not isinstance(initializer, Indexed):
        values = piece.draw(name, key)  # each box would cost as much as the whole
    else:
        values = None
    for outer, inner in boxes:
        target = view[outer]
        if values is not None:
            target.copy_(memory._tensor(np.array(values[inner])))
            continue
        for axis, entry in enumerate(inner):
            if not isinstance(entry, slice):
                target = target.unsqueeze(axis)
        held = tuple(
            range(size)[entry] if isinstance(entry, slice) else range(entry, entry + 1)
            for entry, size in zip(inner, piece.shape, strict=True)
        )
        memory._place(target, initializer, piece.shape, piece.axes, key.fold_in(piece.stream), held)


def _normalize(weight: Weight) -> None:
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

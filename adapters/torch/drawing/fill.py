"""The fill of a stored tensor: the weights of a plan's entry, written to the memory on this rank."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from initlib import Key
from initlib.plans.entry import Entry
from initlib.plans.packing.logical_weights import is_made_whole
from initlib.stream.boxes import box_index, normalize_index
from initlib.stream.engine import DrawRequest

from .._private import is_dtensor, is_observed
from .memory import DTYPES, fill_memory, increment_version, local_views


def local_boxes(tensor: Tensor) -> Iterable[tuple[Tensor, Any]]:
    """Return the views of the memory on this rank, each with the index of the box of the tensor that it holds."""
    return ((view, ... if box is None else box_index(box)) for view, box in local_views(tensor))


def fill_stored(tensor: Tensor, entry: Entry, key: Key, boxes: Iterable[tuple[Tensor, Any]] | None = None) -> None:
    """Fill the memory of a stored tensor on this rank, under the key of the full model.

    `boxes` are the views of the memory and the indices that they hold, where the tensor itself does not show them.
    """
    for view, index in local_boxes(tensor) if boxes is None else boxes:
        fill_box(view, entry, index, key)
    if is_dtensor(tensor):
        increment_version(tensor)


def fill_box(view: Tensor, entry: Entry, index: Any, key: Key) -> None:
    """Fill a view of memory that holds the box at an index of the stored tensor."""
    dtype = DTYPES[view.dtype]
    for weight, boxes in groupby(entry.boxes(index), key=lambda box: box[0]):
        places = [(outer, inner) for _, outer, inner in boxes]
        initializer = weight.initializer
        if isinstance(initializer, np.ndarray) or (len(places) > 1 and is_made_whole(initializer)):
            full = weight.draw(dtype, key)  # drawing one box alone would cost as much
            for outer, inner in places:
                values = full[inner]
                view[outer].copy_(torch.from_numpy(values.astype("float32") if values.itemsize == 2 else values))
            continue
        for outer, inner in places:
            box = normalize_index(inner, weight.shape)
            request = DrawRequest(weight.shape, weight.axes, dtype, key.fold_in(weight.stream), box)
            fill_memory(view[outer], initializer, request, observed=is_observed())

"""Fill of a stored tensor: the weights of a plan's entry, written to the memory on this rank."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from initlib import Initializer, Key
from initlib.plans.entry import Entry
from initlib.stream.boxes import box_index

from .._private import is_dtensor, is_observed
from .memory import fill_memory, increment_version, local_views


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
    for place, source, request in entry.requests(key, index):
        if isinstance(source, Initializer):
            fill_memory(view[place], source, request, observed=is_observed())
        else:
            view[place].copy_(torch.from_numpy(source.astype("float32") if source.itemsize == 2 else source))

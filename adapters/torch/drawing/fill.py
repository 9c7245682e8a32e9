"""Fill of stored tensors: the weights of a plan's entries, written to the memory on this rank."""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor
from torch.autograd.graph import increment_version

from initlib import Initializer, Key
from initlib._progress import Progress
from initlib.plans.entry import Entry
from initlib.plans.fill import Fills, Target
from initlib.stream.boxes import box_index
from initlib.stream.kernel import Memory

from .._private import is_dtensor, is_observed
from .memory import as_tensor, fill_memory, kernel_memory, local_views, row_major_memory


def local_boxes(tensor: Tensor) -> Iterable[tuple[Tensor, Any]]:
    """Return the views of the memory on this rank, each with the index of the box of the tensor that it holds."""
    return ((view, ... if box is None else box_index(box)) for view, box in local_views(tensor))


def fill_stored(tensor: Tensor, entry: Entry, key: Key, boxes: Iterable[tuple[Tensor, Any]] | None = None) -> None:
    """Fill the memory of a stored tensor on this rank, under the key of the full model.

    `boxes` are the views of the memory and the indices that they hold, where the tensor itself does not show them.
    """
    views = local_boxes(tensor) if boxes is None else boxes
    fill_boxes([(entry, index, view) for view, index in views], key)
    if is_dtensor(tensor):
        increment_version(tensor)


def _unseen(view: Tensor) -> Memory | None:
    """Return None: a mode or a transform must see each write."""
    return None


def fill_boxes(
    targets: Sequence[Target[Tensor]],
    key: Key,
    advance: Progress | None = None,
    *,
    ordinary: Sequence[Target[Tensor]] = (),
) -> None:
    """Fill views of memory, each with a box of a stored tensor, under the key of the full model.

    `ordinary` are further targets, whose views are ordinary tensors (see `is_ordinary`) and need fewer checks. Raises
    ValueError before anything is written if a storage is too small.
    """
    observed = is_observed()

    def fill_one(entry: Entry, index: Any, view: Tensor) -> None:
        for place, source, request in entry.requests(key, index):
            part = view[(*place, ...)]
            if isinstance(source, Initializer):
                fill_memory(part, source, request, observed=observed)
            else:
                part.copy_(as_tensor(source))

    fills = Fills(key, _unseen if observed else kernel_memory)
    fills.add(targets)
    fills.add(ordinary, None if observed else row_major_memory)
    try:
        fills.fill(fill_one, advance)
    finally:
        if not observed:
            increment_version([view for _, _, view in (*targets, *ordinary)])

"""The fill of a tensor: the weights of a plan's entry, written to the memory that this rank holds."""

from collections.abc import Iterator
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

from .._private import is_dtensor, is_fake, is_observed
from ..drawing import memory
from .tensors import ModelTensor

UNWRITABLE = "tensor must be one whose weights can be written, got a {cls}; initialize the model before it is converted"


def check(tensor: ModelTensor) -> None:
    """Raise TypeError, ValueError or RuntimeError unless the memory of the tensor can be filled."""
    memory.check(tensor.tensor)
    for _ in _boxes(tensor):  # which raises for sums over ranks
        pass
    if _is_foreign(tensor.tensor):
        _check_foreign(tensor.tensor)


def _is_foreign(tensor: Tensor) -> bool:
    """Return whether the tensor is of a subclass that this library does not know, such as a quantized one."""
    plain = type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__
    return not (plain or is_dtensor(tensor) or is_fake(tensor) or tensor.is_meta or tensor.numel() == 0)


def _check_foreign(tensor: Tensor) -> None:
    """Raise TypeError unless written weights reach the tensor, which stays unchanged."""
    index = tuple(slice(0, 1) for _ in range(tensor.ndim))
    try:
        with torch.no_grad():
            before = _value(tensor, index)
            tensor.detach()[index].copy_(torch.full((1,) * tensor.ndim, 1.5 if before != 1.5 else 0.5))
            after = _value(tensor, index)
            tensor.detach()[index].copy_(torch.full((1,) * tensor.ndim, before, dtype=torch.float64))
            written, restored = after in (0.5, 1.5), _value(tensor, index) == before
    except (TypeError, ValueError, RuntimeError, NotImplementedError, IndexError) as error:
        raise TypeError(f"{UNWRITABLE.format(cls=type(tensor).__name__)} ({error})") from error
    if not written or not restored:
        raise TypeError(UNWRITABLE.format(cls=type(tensor).__name__))


def _value(tensor: Tensor, index: Any) -> float:
    return float(tensor.detach()[index].double().reshape(()))


def fill(tensor: ModelTensor, entry: Entry, key: Key) -> None:
    """Fill a tensor of the model, under the key of the full model."""
    if entry.kept or memory.has_no_storage(tensor.tensor):
        return
    fill_stored(tensor, entry, key)
    if tensor.magnitude is not None:
        _normalize(tensor)


def fill_stored(tensor: ModelTensor, entry: Entry, key: Key) -> None:
    """Fill the memory of the stored tensor on this rank."""
    for view, index in _boxes(tensor):
        fill_box(view, entry, index, key)
    if is_dtensor(tensor.tensor):
        torch.autograd.graph.increment_version(tensor.tensor)


def _boxes(tensor: ModelTensor) -> Iterator[tuple[Tensor, Any]]:
    """Return the views of the memory on this rank, each with the index of the box that the view holds."""
    if tensor.flat is not None:
        yield from tensor.flat.boxes()
    elif is_dtensor(tensor.tensor):
        from ..drawing.dtensor import shards

        for view, box in shards(tensor.tensor):
            yield view, box_index(box)
    else:
        yield tensor.tensor, ...


def fill_box(view: Tensor, entry: Entry, index: Any, key: Key) -> None:
    """Fill a view of memory that holds the box at an index of the stored tensor."""
    dtype = memory.DTYPES[view.dtype]
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
            memory.place(view[outer], initializer, request, observed=is_observed())


def _normalize(tensor: ModelTensor) -> None:
    """Set the magnitudes of a weight-normed weight to the norms of its direction, so that it is the drawn weight."""
    direction, magnitude = tensor.tensor, tensor.magnitude
    assert magnitude is not None
    kept = None if magnitude.axis == -1 else magnitude.axis % direction.ndim
    axes = [axis for axis in range(direction.ndim) if axis != kept]
    norms = torch.linalg.vector_norm(direction, dim=axes, keepdim=kept is not None) if axes else direction.abs()
    magnitude.place.tensor.copy_(norms)
    direction.add_(norms == 0)  # the direction of a weight of 0 must not be 0, and may be any other
    if magnitude.hook is not None:
        module = magnitude.place.module
        setattr(module, magnitude.hook.name, magnitude.hook.compute_weight(module))

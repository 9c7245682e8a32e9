"""Fill of a tensor of a model, and a check, before anything is written, that the tensor can be filled."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from initlib import Key
from initlib._progress import Progress
from initlib.plans.entry import Entry

from .._private import is_dtensor, is_fake
from ..drawing import memory
from ..drawing.fill import fill_boxes, local_boxes
from .tensors import ModelTensor

UNWRITABLE = (
    "tensor must be of a class that can be filled, got a {cls}. Initialize the model "
    "before its tensors are converted to this class"
)


def check(tensor: ModelTensor) -> None:
    """Raise TypeError, ValueError or RuntimeError unless the memory of the tensor can be filled."""
    stored = tensor.stored
    memory.check(stored)
    if type(stored).__torch_dispatch__ is Tensor.__torch_dispatch__:
        return
    if tensor.flat is None:
        list(local_boxes(stored))  # raises for sums over ranks
    if _is_foreign(stored):
        _check_foreign(stored)


def _is_foreign(tensor: Tensor) -> bool:
    """Return whether a subclass that has its own memory is unknown to this library, such as a quantized one."""
    return not (is_dtensor(tensor) or is_fake(tensor) or tensor.is_meta or tensor.numel() == 0)


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


def fill(tensors: Iterable[tuple[ModelTensor, Entry]], key: Key, advance: Progress | None = None) -> None:
    """Fill tensors of the model that the plan does not keep, under the key of the full model."""
    ordinary, targets, dtensors, directions = [], [], [], []
    for tensor, entry in tensors:
        stored = tensor.stored
        if tensor.is_ordinary and stored.is_cpu and tensor.magnitude is None:  # the usual case: none of the cases below
            if 0 not in tensor.shape:
                ordinary.append((entry, ..., stored))
            continue
        if memory.has_no_storage(stored):
            continue
        boxes = local_boxes(stored) if tensor.flat is None else tensor.flat.boxes()
        targets += [(entry, index, view) for view, index in boxes]
        if is_dtensor(stored):
            dtensors.append(stored)
        if tensor.magnitude is not None:
            directions.append(tensor)
    fill_boxes(targets, key, advance, ordinary=ordinary)
    increment_version(dtensors)
    for tensor in directions:
        normalize(tensor)


def normalize(tensor: ModelTensor) -> None:
    """Set the magnitudes of a weight-normed weight to the norms of its direction, which holds the drawn weight."""
    direction, magnitude = tensor.tensor, tensor.magnitude
    assert magnitude is not None
    kept = None if magnitude.axis == -1 else magnitude.axis % direction.ndim
    axes = [axis for axis in range(direction.ndim) if axis != kept]
    norms = torch.linalg.vector_norm(direction, dim=axes, keepdim=kept is not None) if axes else direction.abs()
    magnitude.tensor.copy_(norms)
    direction.add_(norms == 0)  # the direction of a weight of 0 must not be 0, and may be any other
    if magnitude.hook is not None:
        module, _ = magnitude.place
        setattr(module, magnitude.hook.name, magnitude.hook.compute_weight(module))

"""Verification: compare the weights that a model holds with those of a plan and a seed."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from initlib import Key, Plan
from initlib._public import public
from initlib.adapters.common.comparison import first_difference
from initlib.checkpoints.verify import Difference
from initlib.key import as_key
from initlib.plans.entry import Entry
from initlib.stream.boxes import Box, normalize_index

from ..drawing.dispatch import Seed
from ..drawing.fill import local_boxes
from ..drawing.memory import DTYPES, array_of
from .tensors import ModelTensor, model_tensors, walk

COMPUTED = 1e-5  # how far a weight-normed weight may be from its draw, relative to the draw


@public("initlib.adapters.torch")
def verify(model: nn.Module, plan: Plan, seed: Seed, *, whole: bool = False) -> tuple[Difference, ...]:
    """Compare the weights that a model holds now with those that a plan and a seed give.

    Each rank compares its own shards, without communication. Names, shapes and dtypes are compared for all tensors,
    values for those that the plan fills. A weight-normed weight is compared as the module computes it. Orthogonal
    matrices, which are products, may differ by 1e-6.

    Args:
        model: the model, on any devices, plain or sharded.
        plan: the plan, as `plan` or `initialize` return it.
        seed: the seed with which the model was initialized: an int or a `Key`.
        whole: compare all weights. By default samples of 1024 weights are compared, 16 for each tensor and shard: they
            miss single changed weights.

    Returns:
        The differences: name, what differs, and the index of the first weight that differs, in the full weight. The
        result is empty where nothing differs.

    Example:
        >>> from torch import nn
        >>> from initlib import he_normal
        >>> from initlib.adapters.torch import initialize, verify
        >>> model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        >>> plan = initialize(model, he_normal, seed=0)
        >>> verify(model, plan, seed=0)
        ()
        >>> print(*verify(model, plan, seed=1), sep=", ")
        '0.weight' differs from weight (0, 0) on, '2.weight' differs from weight (0, 0) on
    """
    key = as_key(seed)
    tensors = model_tensors(walk(model), skip_lazy=True)
    by_name = {name: tensor for tensor in tensors for name in tensor.names}
    planned = {name for entry in plan.entries for name in entry.parameter.names}
    differences = []
    for tensor in tensors:
        if planned.isdisjoint(tensor.names):
            differences.append(Difference(tensor.names[0], "is not in the plan"))
    for entry in plan.entries:
        held = {id(by_name[name]): (name, by_name[name]) for name in entry.parameter.names[::-1] if name in by_name}
        if not held:
            differences.append(Difference(entry.parameter.name, "is not there"))
        for name, tensor in held.values():
            differences += _compare(entry, name, tensor, key, whole)
    return tuple(differences)


def _compare(entry: Entry, name: str, tensor: ModelTensor, key: Key, whole: bool) -> Iterator[Difference]:
    """Yield the difference of a tensor from its entry, if there is one."""
    parameter, dtype = entry.parameter, str(tensor.tensor.dtype).removeprefix("torch.")
    if tensor.shape != parameter.shape:
        yield Difference(name, f"has shape {tensor.shape}, the plan has {parameter.shape}")
    elif dtype != parameter.dtype:
        yield Difference(name, f"has dtype {dtype}, the plan has {parameter.dtype}")
    elif entry.kept or tensor.tensor.dtype not in DTYPES:
        return
    elif tensor.tensor.is_meta:
        yield Difference(name, "has no values: it is on the meta device")
    else:
        index = _first_difference(entry, tensor, key, whole)
        if index is not None:
            yield Difference(name, "differs from weight", index)


def _first_difference(entry: Entry, tensor: ModelTensor, key: Key, whole: bool) -> tuple[int, ...] | None:
    with torch.no_grad():
        if tensor.magnitude is not None:
            return _computed_difference(entry, tensor, key)
        indices = []
        for view, index in tensor.flat.boxes() if tensor.flat is not None else local_boxes(tensor.tensor):
            box = tuple(part._replace(drop=False) for part in normalize_index(index, entry.parameter.shape))
            if view.numel():
                indices.append(first_difference(entry, key, box, _reader(view, box), whole=whole))
    return min((index for index in indices if index is not None), default=None)


def _reader(view: Tensor, box: Box) -> Any:
    memory = view.detach().reshape([part.size for part in box])
    return lambda index: array_of(memory[index])


def _computed_difference(entry: Entry, tensor: ModelTensor, key: Key) -> tuple[int, ...] | None:
    """Return the first index at which a weight-normed weight, as its module computes it, differs from the draw."""
    assert tensor.magnitude is not None
    direction, norms = tensor.tensor, tensor.magnitude.place.tensor
    kept = None if tensor.magnitude.axis == -1 else tensor.magnitude.axis % direction.ndim
    axes = [axis for axis in range(direction.ndim) if axis != kept]
    lengths = torch.linalg.vector_norm(direction, dim=axes, keepdim=kept is not None) if axes else direction.abs()
    drawn = torch.from_numpy(entry.draw(key).astype("float64"))
    computed = (direction * (norms / lengths)).double().cpu()
    places = ((computed - drawn).abs() > COMPUTED * drawn.abs().max()).nonzero()
    return tuple(places[0].tolist()) if len(places) else None

"""Parameters that share memory: the same elements are a tie, a part of them is an error, disjoint parts are fine."""

from collections.abc import Hashable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ..drawing.memory import extent


def same_elements(tensor: Tensor) -> Hashable:
    """Return a key that is equal for tensors of the same elements in the same order."""
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def same_memory(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are the same elements in the same order."""
    return one.data_ptr() == other.data_ptr() and same_elements(one) == same_elements(other)


def overlaps(tensors: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Return the pairs of tensors that share elements, by their numbers."""
    ranges = sorted([(tensor.data_ptr(), _end(tensor)) for tensor in tensors])
    if all(end <= start for (_, end), (start, _) in pairwise(ranges)):
        return []  # as in most models, and in less time than by storages
    storages: dict[int, list[int]] = {}
    for number, tensor in enumerate(tensors):
        storages.setdefault(tensor.untyped_storage().data_ptr(), []).append(number)
    pairs = []
    for group in storages.values():
        group.sort(key=lambda number: tensors[number].data_ptr())
        if any(_end(tensors[one]) > tensors[other].data_ptr() for one, other in pairwise(group)):
            pairs += [
                (one, other)
                for place, one in enumerate(group)
                for other in group[place + 1 :]
                if _end(tensors[one]) > tensors[other].data_ptr() and _overlap(tensors[one], tensors[other])
            ]
    return pairs


def _end(tensor: Tensor) -> int:
    """Return the address after the last element of a tensor."""
    return tensor.data_ptr() + (tensor.nbytes if tensor.is_contiguous() else extent(tensor) * tensor.itemsize)


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors share elements; the first must begin first."""
    distance, rest = divmod(other.data_ptr() - one.data_ptr(), one.itemsize)
    if rest or one.dtype != other.dtype:
        return True
    elements = max(_end(one), _end(other)) - one.data_ptr()
    used = torch.zeros(elements // one.itemsize, dtype=torch.bool, device=one.device)
    used.as_strided(one.shape, one.stride()).fill_(True)
    return bool(used.as_strided(other.shape, other.stride(), distance).any())

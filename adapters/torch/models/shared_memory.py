"""Parameters that share memory: the same elements are a tie, a part of them is an error, disjoint parts are fine."""

from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ..drawing.memory import extent

AddressRange = tuple[int, int]  # the address of the first element, and the address after the last element


def same_elements(tensor: Tensor) -> Hashable:
    """Return a key that is equal for tensors of the same elements in the same order."""
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def same_memory(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are the same elements in the same order."""
    return one.data_ptr() == other.data_ptr() and same_elements(one) == same_elements(other)


def address_range(tensor: Tensor) -> AddressRange:
    """Return the address of the first element of a tensor, and the address after the last element."""
    return tensor.data_ptr(), tensor.data_ptr() + extent(tensor) * tensor.itemsize


def may_overlap(ranges: Iterable[AddressRange]) -> bool:
    """Return whether two ranges overlap, so that two tensors may share elements."""
    return any(end > start for (_, end), (start, _) in pairwise(sorted(ranges)))


def overlaps(tensors: Sequence[Tensor], written: Sequence[bool]) -> list[tuple[int, int]]:
    """Return the pairs of tensors that share elements, by their numbers. At least one of each pair is written."""
    storages: dict[int, list[int]] = {}
    for number, tensor in enumerate(tensors):
        storages.setdefault(tensor.untyped_storage().data_ptr(), []).append(number)
    pairs = []
    for group in storages.values():
        group.sort(key=lambda number: tensors[number].data_ptr())
        for place, one in enumerate(group):
            end = _end(tensors[one])
            for other in group[place + 1 :]:
                if tensors[other].data_ptr() >= end:
                    break
                if (written[one] or written[other]) and _overlap(tensors[one], tensors[other]):
                    pairs.append((one, other))
    return pairs


def _end(tensor: Tensor) -> int:
    return address_range(tensor)[1]


def _overlap(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors share elements; the first must begin first."""
    distance, rest = divmod(other.data_ptr() - one.data_ptr(), one.itemsize)
    if rest or one.dtype != other.dtype:
        return True
    elements = max(_end(one), _end(other)) - one.data_ptr()
    used = torch.zeros(elements // one.itemsize, dtype=torch.bool, device=one.device)
    used.as_strided(one.shape, one.stride()).fill_(True)
    return bool(used.as_strided(other.shape, other.stride(), distance).any())

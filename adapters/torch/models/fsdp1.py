"""Flat shards: parameters that FullyShardedDataParallel (FSDP1) has joined into one flat tensor."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn

from initlib.stream.boxes import box_index, box_shape, flat_boxes

from .._private import flat_ranges


class FlatShard(NamedTuple):
    """A row-major range of a parameter, which this rank holds."""

    shape: tuple[int, ...]
    memory: Tensor  # one axis: the range
    start: int  # the position of its first weight in the parameter

    @property
    def is_whole(self) -> bool:
        """Return whether the range is the full parameter."""
        return self.memory.numel() == math.prod(self.shape)

    def boxes(self) -> Iterator[tuple[Tensor, Any]]:
        """Yield views of the range, each with the index of the box of the parameter that the view holds."""
        for place, box in flat_boxes(self.start, self.start + self.memory.numel(), self.shape):
            yield self.memory[place].view(box_shape(box)), box_index(box)


def flat_shards(modules: Iterable[nn.Module]) -> dict[int, dict[str, FlatShard]]:
    """Return the flat shards of a model: by the id of the module that owns the parameter, then by name."""
    shards: dict[int, dict[str, FlatShard]] = {}
    same: dict[tuple[int, int], FlatShard] = {}  # tied parameters share one object
    for part in flat_ranges(modules):
        key = id(part.memory), part.start
        shard = same.setdefault(key, FlatShard(part.shape, part.memory, part.start))
        shards.setdefault(id(part.module), {})[part.name] = shard
    return shards

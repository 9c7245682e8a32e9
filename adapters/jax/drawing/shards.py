"""The shards of an array that this process holds, each with the box of the array that it is."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from initlib.stream.boxes import Box, normalize_index

Read = Callable[[Any], NDArray[Any]]  # from an index of the shard to its values


def shards(array: jax.Array | NDArray[Any]) -> Iterator[tuple[Box, Read]]:
    """Yield the box of each shard that this process holds, and a function that reads the shard."""
    parts = [(..., array)]
    if isinstance(array, jax.Array):
        parts = [(shard.index, shard.data) for shard in array.addressable_shards]
    for index, data in parts:
        box = tuple(part._replace(drop=False) for part in normalize_index(index, array.shape))
        yield box, np.asarray(data).__getitem__

"""Values of arrays in the memory of this process, which a comparison reads piece by piece."""

from functools import partial
from typing import Any

import jax
import numpy as np

from initlib.checkpoints.held import HeldBox, Read, Values
from initlib.stream.boxes import Box, Piece, full_box, normalize_index

HOST = "cpu"  # the platform whose memory NumPy reads


def held_boxes(value: Any, at: tuple[int | slice, ...] = ()) -> list[HeldBox]:
    """Return the boxes of a layer's weight that this process holds in an array, with all copies of each.

    `at` is the place of the layer in a stack: an int along each axis of layers. Raises ValueError for a value that is
    not known, such as a shape.
    """
    if isinstance(value, np.ndarray):
        return _boxes([(full_box(value.shape), value)], at)
    if not isinstance(value, jax.Array) or isinstance(value, jax.core.Tracer):
        raise ValueError("the array has no values in memory")
    shards = value.addressable_shards
    return _boxes([(normalize_index(shard.index, value.shape), shard.data) for shard in shards], at)


def _boxes(shards: list[tuple[Box, Any]], at: tuple[int | slice, ...]) -> list[HeldBox]:
    copies: dict[Box, list[Read]] = {}
    for box, data in shards:
        ahead = (*at, *[slice(None)] * (len(box) - len(at)))
        local = [each - part.start if isinstance(each, int) else each for each, part in zip(ahead, box, strict=True)]
        if all(0 <= each < part.size for each, part in zip(local, box, strict=True) if isinstance(each, int)):
            own = tuple(part for each, part in zip(local, box, strict=True) if not isinstance(each, int))
            copies.setdefault(own, []).append(partial(_read, data, local))
    return [HeldBox(box, tuple(reads)) for box, reads in copies.items()]


def _read(data: Any, local: list[int | slice], piece: Piece) -> Values:
    """Return the values of a piece of the layer at a place of a shard."""
    ahead = iter(piece.place)
    index = [each if isinstance(each, int) else next(ahead, each) for each in local]
    if isinstance(data, np.ndarray) or data.device.platform == HOST:
        return np.asarray(data)[tuple(index)]  # without a copy
    box = normalize_index(tuple(index), data.shape)
    # One program for each shape, wherever the piece lies.
    values = jax.lax.dynamic_slice(data, [part.start for part in box], [part.size for part in box])
    return np.asarray(values).reshape(piece.shape)

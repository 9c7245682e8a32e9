"""Shards of DTensors: the boxes of the weight that the memory of this rank holds."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from torch.distributed.tensor import Shard

from initlib.stream.boxes import Box, Part

from .._private import local_tensor, strided_shard


def _take(held: list[range], start: int, stop: int) -> list[range]:
    """Return the indices from `start` to `stop` of consecutive ranges."""
    taken = []
    for piece in held:
        part = piece[max(start, 0) : max(stop, 0)]
        if part:
            taken.append(part)
        start, stop = start - len(piece), stop - len(piece)
    return taken


def _chunk(held: list[range], chunks: int, number: int) -> list[range]:
    """Return one chunk of the indices, as `torch.chunk` cuts them: the last chunks may be short, or empty."""
    size = -(-sum(map(len, held)) // chunks)
    return _take(held, number * size, (number + 1) * size)


def _held(tensor: Any, coordinate: Sequence[int]) -> list[list[range]]:
    """Return for each axis the ranges of indices that the rank at this coordinate of the mesh holds."""
    held, strided = [[range(size)] for size in tensor.shape], strided_shard()
    for number, chunks, placement in zip(coordinate, tensor.device_mesh.shape, tensor.placements, strict=True):
        if isinstance(placement, strided):
            # The axis was first cut into `split_factor` shards along the mesh axes to the right, then here.
            axis, whole, cuts = placement.dim, held[placement.dim], int(placement.split_factor)
            held[axis] = [part for cut in range(cuts) for part in _chunk(_chunk(whole, cuts, cut), chunks, number)]
        elif isinstance(placement, Shard):
            held[placement.dim] = _chunk(held[placement.dim], chunks, number)
        elif not placement.is_replicate():
            raise ValueError(
                f"tensor must be a DTensor of Shard and Replicate placements, got {tensor.placements}: a sum over "
                f"ranks cannot be filled"
            )
    return held


def shards(tensor: Any) -> Iterator[tuple[Any, Box]]:
    """Yield views of this rank's memory, each with the box of the weight that it holds."""
    coordinate = tensor.device_mesh.get_coordinate()
    local = local_tensor(tensor)
    if not all(isinstance(place, int) for place in coordinate or ()):
        raise TypeError(
            "tensor must be a DTensor of one rank, got a DTensor of several ranks, as in PyTorch's LocalTensorMode. "
            "Fill the tensor before that mode, or on real ranks."
        )
    held = _held(tensor, coordinate or [0] * tensor.device_mesh.ndim)
    if coordinate is None or local.numel() == 0:
        return
    sizes = tuple(sum(map(len, pieces)) for pieces in held)
    if sizes != tuple(local.shape):
        raise ValueError(
            f"tensor must hold the shape {sizes} on this rank, as its placements {tensor.placements} require, got "
            f"{tuple(local.shape)}"
        )
    starts = [itertools.accumulate((len(piece) for piece in pieces[:-1]), initial=0) for pieces in held]
    parts = (list(zip(start, pieces, strict=True)) for start, pieces in zip(starts, held, strict=True))
    for places in itertools.product(*parts):
        view = local[tuple(slice(start, start + len(part)) for start, part in places)]
        yield view, tuple(Part(part.start, part.step, len(part)) for _, part in places)

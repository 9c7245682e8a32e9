"""Ranks that hold plain tensors, which are parts of weights: Megatron's layers, and the partitions of ZeRO.

    python examples/plain_parts.py 2

Neither library is needed: the layers here keep what theirs keep, and are filled as theirs would be. Each rank draws its
own part, and what the ranks gather is the network that one process draws.
"""

import hashlib
import math
import sys
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch import nn

import initlib.adapters.torch as init

SHAPES = {"up": (128, 32), "down": (32, 128)}  # outputs, inputs


def init_method(weight: torch.Tensor, name: str) -> None:
    """Fill a part of a weight, as Megatron calls it. The part knows the axis of its cut, but not its name."""
    axis, size = weight.partition_dim, weight.shape[weight.partition_dim]
    shape, index = list(weight.shape), [slice(None)] * weight.ndim
    shape[axis] = size * dist.get_world_size()
    index[axis] = slice(dist.get_rank() * size, (dist.get_rank() + 1) * size)
    init.xavier_normal_(weight, seed=0, name=name, shape=shape, index=tuple(index))


def fill_partition(weight: torch.Tensor, name: str) -> None:
    """Fill the range of a weight that ZeRO keeps on this rank. ZeRO flattens and pads weights."""
    size, whole = weight.ds_tensor.numel(), math.prod(weight.ds_shape)
    start, stop = (min(rank * size, whole) for rank in (dist.get_rank(), dist.get_rank() + 1))
    part = weight.ds_tensor[: stop - start]
    init.xavier_normal_(part, seed=0, name=name, shape=weight.ds_shape, flat=slice(start, stop))


def megatron(world: int) -> nn.ParameterDict:
    """Make parts as Megatron's layers hold them: `up` is cut along its outputs, `down` along its inputs."""
    model = nn.ParameterDict()
    for name, axis in (("up", 0), ("down", 1)):
        shape = list(SHAPES[name])
        shape[axis] //= world
        model[name] = nn.Parameter(torch.empty(shape))
        model[name].partition_dim = axis
    return model


def zero(world: int) -> nn.ParameterDict:
    """Make empty parameters as ZeRO 3 leaves them, which know their full shape and their flat memory on this rank."""
    model = nn.ParameterDict()
    for name, shape in SHAPES.items():
        model[name] = nn.Parameter(torch.empty(0))
        model[name].ds_shape = shape
        model[name].ds_tensor = torch.zeros(-(-math.prod(shape) // world))
    return model


def gathered(part: torch.Tensor, world: int) -> list[torch.Tensor]:
    """Return the parts of all ranks."""
    parts = [torch.empty_like(part) for _ in range(world)]
    dist.all_gather(parts, part.detach().contiguous())
    return parts


def digest(weights: dict[str, torch.Tensor]) -> str:
    """Return eight characters that depend on every bit of the weights."""
    hasher = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        hasher.update(name.encode() + weight.detach().contiguous().numpy().tobytes())
    return hasher.hexdigest()[:8]


def main(rank: int, world: int, folder: str) -> None:
    """Fill and compare the weights of one of the processes."""
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", world), rank=rank, world_size=world)
    parallel, partitioned = megatron(world), zero(world)
    for name in SHAPES:
        init_method(parallel[name], name)
        fill_partition(partitioned[name], name)
    cut = {name: torch.cat(gathered(weight, world), weight.partition_dim) for name, weight in parallel.items()}
    flat = {name: torch.cat(gathered(weight.ds_tensor, world)) for name, weight in partitioned.items()}
    flat = {name: vector[: math.prod(SHAPES[name])].view(SHAPES[name]) for name, vector in flat.items()}
    if rank == 0:
        print(f"Megatron's parts on {world}: {digest(cut)}\nZeRO's partitions on {world}: {digest(flat)}")
    dist.destroy_process_group()


if __name__ == "__main__":
    whole = {name: init.xavier_normal_(torch.empty(shape), seed=0, name=name) for name, shape in SHAPES.items()}
    print(f"one process: {digest(whole)}", flush=True)
    world = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.start_processes(main, (world, folder), world, start_method="fork")

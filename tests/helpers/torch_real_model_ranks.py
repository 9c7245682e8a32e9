"""A program that shards real models of transformers and timm over gloo, and compares them with one process.

The models are initialized by rules, and by their own code, which does not handle shards.
"""

import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from real_models import RECORDS, initialized, start
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

import initlib.adapters.torch as init
from initlib import keep


def built(record, skeleton=False):
    torch.manual_seed(0)
    if not skeleton:
        return record.build()
    with init.skeleton():
        return record.build()


def shard(model, mesh):
    for part in reversed(list(model.modules())):
        if isinstance(part, nn.ModuleList):
            for layer in part:
                fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)


def check(name, alone, sharded):
    expected = alone.state_dict()
    for key, tensor in sharded.state_dict().items():
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        assert torch.equal(whole, expected[key]), (name, key)


def main(rank, world, store):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(store, world), rank=rank, world_size=world)
    mesh = init_device_mesh("cpu", (world,))
    for name, record in RECORDS.items():
        alone, sharded = built(record), built(record)
        shard(sharded, mesh)
        for model in (alone, sharded):
            with init.named(model, seed=0):
                start(model)
        check(name, alone, sharded)
        if not any(fill is keep for fill in (record.rules or {}).values()):
            alone, sharded = built(record), built(record, skeleton=True)
            shard(sharded, mesh)
            initialized(record, alone)
            initialized(record, sharded, device="cpu")
            check(name, alone, sharded)
    if rank == 0:
        print(f"{len(RECORDS)} models on {world} ranks")
    dist.destroy_process_group()


if __name__ == "__main__":
    world = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        # Forked, so that PyTorch is imported once.
        multiprocessing.start_processes(main, (world, str(Path(folder) / "store")), world, start_method="fork")

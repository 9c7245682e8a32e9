"""A program that fills DTensors on processes over gloo, and compares the memory of each rank with the full weight."""

import sys
import tempfile
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.distributed.tensor.placement_types import _StridedShard

import initlib
import initlib.adapters.torch as init

SHAPES = [(8, 6, 3), (5, 7, 3), (1, 3, 2), (13, 4, 1)]

FILLS = {
    "he_normal_": lambda t: init.he_normal_(t, seed=3, name="w"),
    "packed": lambda t: init.glorot_uniform_(t, seed=3, axes="OBK"),
    "generator": lambda t: init.normal_(t, generator=torch.Generator().manual_seed(7)),
    "kaiming_uniform_": lambda t: init.kaiming_uniform_(t, seed=2**40),
    "trunc_normal_": lambda t: init.trunc_normal_(t, 0.5, seed=3),
    "constant_": lambda t: init.constant_(t, 2.5),
    "dirac_": init.dirac_,
    "orthogonal_": lambda t: init.orthogonal_(t, 2.0, seed=3),
    "sparse": lambda t: init.fill_(t, initlib.sparse(0.4), seed=3),
}


def placements(world):
    line = init_device_mesh("cpu", (world,))
    yield line, [Replicate()]
    yield from ((line, [Shard(axis)]) for axis in range(3))
    if world == 4:
        grid = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
        yield grid, [Shard(0), Shard(0)]
        yield grid, [Shard(0), Shard(1)]
        yield grid, [Shard(2), Replicate()]
        yield grid, [_StridedShard(0, split_factor=2), Shard(0)]
        yield grid, [_StridedShard(1, split_factor=2), Shard(1)]


def split(whole, mesh, where):
    """Return PyTorch's own shards of a tensor."""
    return distribute_tensor(whole, mesh, where, src_data_rank=None)


def check_placements(world):
    for mesh, where in placements(world):
        for shape in SHAPES:
            for name, fill in FILLS.items():
                with CommDebugMode() as communication:
                    sharded = fill(split(torch.full(shape, 9.0), mesh, where))
                assert communication.get_total_counts() == 0
                expected = split(fill(torch.full(shape, 9.0)), mesh, where)
                assert torch.equal(sharded.to_local(), expected.to_local()), (name, shape, where)


def check_matrices(world):
    mesh = init_device_mesh("cpu", (world,))
    fills = {
        "eye_": init.eye_,
        "sparse_": lambda t: init.sparse_(t, 0.3, seed=0),
        "orthogonal_": lambda t: init.orthogonal_(t, seed=0),
        "zeros_": init.zeros_,
    }
    for axis in (0, 1):
        for name, fill in fills.items():
            sharded = fill(split(torch.full((7, 5), 9.0), mesh, [Shard(axis)]))
            assert torch.equal(sharded.full_tensor(), fill(torch.full((7, 5), 9.0))), name
    with pytest.raises(TypeError, match="dtype"):
        init.eye_(split(torch.ones(4, 4, dtype=torch.int64), mesh, [Shard(0)]))


def check_manual_seed(world):
    mesh = init_device_mesh("cpu", (world,))
    torch.manual_seed(1)
    first, second = (init.xavier_normal_(split(torch.empty(6, 4), mesh, [Shard(0)])) for _ in range(2))
    torch.manual_seed(1)
    assert torch.equal(first.full_tensor(), init.xavier_normal_(torch.empty(6, 4)))
    assert not torch.equal(first.full_tensor(), second.full_tensor())


def check_parameters(world):
    mesh = init_device_mesh("cpu", (world,))
    weight = torch.nn.Parameter(split(torch.empty(5, 4), mesh, [Shard(0)]))
    before = weight._version
    assert init.he_uniform_(weight, seed=0) is weight
    assert weight._version > before
    assert weight.requires_grad
    assert weight.grad_fn is None


def check_partial(world):
    mesh = init_device_mesh("cpu", (world,))
    partial = DTensor.from_local(torch.full((4, 4), 9.0), mesh, [Partial()])
    with pytest.raises(ValueError, match="Partial"):
        init.he_normal_(partial, seed=0)
    assert (partial.to_local() == 9).all()


def check_fully_shard(world):
    def build():
        return torch.nn.Sequential(
            torch.nn.Linear(7, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3), torch.nn.Embedding(6, 3)
        )

    model, alone = build(), build()
    fully_shard(model)
    compare(model, alone)


def check_verify(world):
    """Check that each rank compares its own shards, and that only the rank with a changed weight reports it."""
    model = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.Linear(5, 30), torch.nn.Embedding(6, 3))
    fully_shard(model)
    plan = init.initialize(model, initlib.normal(std=0.5), seed=0)
    with CommDebugMode() as communication:
        assert init.verify(model, plan, 0, whole=True) == ()
        assert all(difference.index is not None for difference in init.verify(model, plan, 1))
    assert communication.get_total_counts() == 0
    local = model[1].weight.to_local().detach()
    last = dist.get_rank() == world - 1
    if last:
        local[-1, 2] += 1
    differences = [(each.name, each.index) for each in init.verify(model, plan, 0, whole=True)]
    assert differences == ([("1.weight", (29, 2))] if last else [])


def check_tensor_parallel():
    grid = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))

    def build():
        return torch.nn.Sequential(torch.nn.Linear(6, 12), torch.nn.Tanh(), torch.nn.Linear(12, 6))

    model, alone = build(), build()
    parallelize_module(model, grid["tensor"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
    fully_shard(model, mesh=grid["data"])
    assert any(isinstance(placement, _StridedShard) for placement in model[0].weight.placements)
    compare(model, alone)
    assert torch.allclose(model(torch.ones(2, 6)), alone(torch.ones(2, 6)), atol=1e-6)


def compare(model, alone):
    for (name, sharded), whole in zip(model.named_parameters(), alone.parameters(), strict=True):
        for weight in (sharded, whole):
            init.fill_(weight, initlib.normal(std=0.5), seed=0, name=name)
        assert torch.equal(sharded.full_tensor(), whole), name


def main(rank, world, store):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(store, world), rank=rank, world_size=world)
    check_placements(world)
    check_matrices(world)
    check_manual_seed(world)
    check_parameters(world)
    check_partial(world)
    check_fully_shard(world)
    check_verify(world)
    if world == 4:
        check_tensor_parallel()
    dist.destroy_process_group()


if __name__ == "__main__":
    for world in map(int, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as folder:
            # Forked, so that PyTorch is imported once.
            multiprocessing.start_processes(main, (world, str(Path(folder) / "store")), world, start_method="fork")
        print(f"{world} ranks agree")

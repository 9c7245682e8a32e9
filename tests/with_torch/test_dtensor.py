"""DTensors: the indices that a rank holds; on real processes, every shard has the bits of the full weight."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed.tensor import Partial, Replicate, Shard
from torch.distributed.tensor.placement_types import _StridedShard

from initlib.adapters.torch.drawing import dtensor as shards

PLACEMENTS = [Replicate(), Shard(0), Shard(1), _StridedShard(0, split_factor=2), _StridedShard(1, split_factor=3)]


@given(
    shape=st.tuples(st.integers(0, 13), st.integers(0, 13)),
    mesh=st.lists(st.tuples(st.integers(1, 4), st.sampled_from(PLACEMENTS)), min_size=1, max_size=3),
    data=st.data(),
)
def test_indices_are_those_of_the_shards_of_pytorch(shape, mesh, data):
    coordinate = [data.draw(st.integers(0, size - 1)) for size, _ in mesh]
    placements = [placement for _, placement in mesh]
    sizes = tuple(size for size, _ in mesh)
    tensor = SimpleNamespace(shape=shape, placements=placements, device_mesh=SimpleNamespace(shape=sizes))
    rows, columns = (
        torch.tensor([index for piece in pieces for index in piece], dtype=torch.int64)
        for pieces in shards._held(tensor, coordinate)
    )
    local = torch.arange(shape[0] * shape[1]).view(shape)
    for number, size, placement in zip(coordinate, sizes, placements, strict=True):
        if not placement.is_replicate():
            local = placement._split_tensor(local, size, with_padding=False)[0][number]
    assert torch.equal(torch.arange(shape[0] * shape[1]).view(shape)[rows][:, columns], local)


def test_sums_over_ranks_are_refused():
    tensor = SimpleNamespace(shape=(4,), placements=[Partial()], device_mesh=SimpleNamespace(shape=(2,)))
    with pytest.raises(ValueError, match=r"placements, got .*Partial.*cannot be filled"):
        shards._held(tensor, [0])


def test_several_ranks_at_once_are_refused():
    """In PyTorch's LocalTensorMode a coordinate of the mesh is a number for each rank."""
    mesh = SimpleNamespace(shape=(2,), ndim=1, get_coordinate=lambda: [torch.tensor([0, 1])])
    tensor = SimpleNamespace(shape=(4,), placements=[Shard(0)], device_mesh=mesh, _local_tensor=torch.empty(2))
    with pytest.raises(TypeError, match="tensor must be a DTensor of one rank"):
        next(shards.shards(tensor))


def test_shards_on_two_and_four_ranks_have_the_bits_of_the_full_weight():
    program = Path(__file__).parents[1] / "helpers" / "torch_ranks.py"
    run = subprocess.run([sys.executable, str(program), "2", "4"], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-4000:]
    assert run.stdout.splitlines() == ["2 ranks agree", "4 ranks agree"]

"""LLaMA-3-70B on 64 simulated ranks: each rank draws the boxes of the full weights, and nothing else."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.placement_types import _StridedShard

import initlib.adapters.torch as init
from initlib import normal
from initlib.adapters.torch.drawing.dtensor import _held

WIDTH, HIDDEN, KEYS, TOKENS, DEPTH = 8192, 28672, 1024, 128256, 80
DATA, TENSOR = 16, 4  # 64 ranks


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        for name, rows, columns in (
            ("q", WIDTH, WIDTH),
            ("k", KEYS, WIDTH),
            ("v", KEYS, WIDTH),
            ("o", WIDTH, WIDTH),
            ("gate", HIDDEN, WIDTH),
            ("up", HIDDEN, WIDTH),
            ("down", WIDTH, HIDDEN),
        ):
            self.add_module(name, nn.Linear(columns, rows, bias=False, dtype=torch.bfloat16))
        self.norm = nn.RMSNorm(WIDTH, dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def plan():
    with init.skeleton():
        model = nn.ModuleDict(
            {
                "table": nn.Embedding(TOKENS, WIDTH, dtype=torch.bfloat16),
                "layers": nn.ModuleList(Layer() for _ in range(DEPTH)),
                "head": nn.Linear(WIDTH, TOKENS - 1, bias=False, dtype=torch.bfloat16),  # its rows do not divide
            }
        )
    rules = {"layers.*.down.weight": lambda parameter: normal(std=0.02) * (2 * parameter.indices[0] + 2) ** -0.5}
    return init.plan(model, rules, default=normal(std=0.02))


def boxes(shape, rank):
    """Return the boxes of a rank of the 16 x 4 mesh: fully sharded along the rows, over tensor parallelism."""
    tensor_axis = 1 if len(shape) > 1 and shape == (WIDTH, HIDDEN) else 0
    over = _StridedShard(0, split_factor=TENSOR) if tensor_axis == 0 else Shard(0)
    placements = [over, Shard(tensor_axis)] if len(shape) > 1 else [Shard(0), Replicate()]
    tensor = SimpleNamespace(
        shape=shape, placements=placements, device_mesh=SimpleNamespace(shape=(DATA, TENSOR), ndim=2)
    )
    held = _held(tensor, divmod(rank, TENSOR))
    assert all(len(pieces) <= 1 for pieces in held)
    return tuple(pieces[0] if pieces else range(0) for pieces in held)


def test_the_plan_has_the_full_model(plan):
    assert sum(entry.parameter.size for entry in plan.entries) == pytest.approx(70.5e9, rel=0.01)
    assert plan["layers.79.down.weight"].filling == normal(std=0.02) * 160**-0.5


@pytest.mark.parametrize("name", ["table.weight", "layers.3.k.weight", "layers.79.down.weight", "head.weight"])
def test_the_ranks_hold_every_weight_once(plan, name):
    shape = plan[name].parameter.shape
    sizes = [int(np.prod([len(part) for part in boxes(shape, rank)], dtype=object)) for rank in range(DATA * TENSOR)]
    assert sum(sizes) == plan[name].parameter.size


def test_each_box_has_the_bits_of_the_full_weight(plan):
    """Small weights are compared in full, large weights at the rows between two ranks."""
    for name in ("layers.0.k.weight", "layers.41.norm.weight"):
        whole = plan.draw_one(name, seed=0)
        for rank in range(0, DATA * TENSOR, 7):
            box = boxes(whole.shape, rank)
            index = tuple(slice(part.start, part.stop) for part in box)
            drawn = plan.draw_one(name, seed=0, index=index)
            assert drawn.nbytes == 2 * np.prod([len(part) for part in box])
            assert np.array_equal(drawn, whole[index])
    for name in ("table.weight", "layers.79.down.weight", "head.weight"):
        shape = plan[name].parameter.shape
        rows, columns = boxes(shape, 37)
        end = slice(rows.stop - 2, rows.stop), slice(columns.start, columns.stop)
        both = slice(rows.stop - 2, min(rows.stop + 2, shape[0])), slice(0, shape[1])
        mine, across = (plan.draw_one(name, seed=0, index=index) for index in (end, both))
        assert np.array_equal(mine, across[:2, columns.start : columns.stop])

"""A model is compared with its plan and seed."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import initlib.adapters.torch as init
from initlib import Key, he_normal, keep, normal, orthogonal, parts
from initlib.adapters.torch.models import fsdp1, tensors
from initlib.adapters.torch.models.verify import verify

RULES = {
    "attention.in_proj_weight": parts({"q": 1, "k": 1, "v": (1, normal(std=0.1))}, he_normal),
    "matrix.weight": orthogonal(),
    "kept.weight": keep,
    "shifted.weight": normal(1.0, 0.02),
}


def build(dtype=torch.float32):
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {
            "linear": nn.Linear(64, 96),
            "attention": nn.MultiheadAttention(32, 4),
            "matrix": nn.Linear(40, 30),
            "kept": nn.Linear(8, 8),
            "shifted": nn.Linear(24, 24),
            "table": nn.Embedding(300, 16, padding_idx=3),
            "norm": nn.BatchNorm1d(16),
            "normed": parametrizations.weight_norm(nn.Conv1d(6, 9, 3)),
            "tied": nn.Linear(64, 96),
            "long": nn.Linear(512, 512),
        }
    ).to(dtype)
    model["tied"].weight = model["linear"].weight
    return model


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=str)
def made(request):
    model = build(request.param)
    return model, init.initialize(model, RULES, seed=0, default=normal(std=0.02))


@pytest.mark.parametrize("whole", [False, True])
def test_nothing_differs_after_initialize(made, whole):
    model, plan = made
    if next(model.parameters()).dtype == torch.bfloat16:
        plan = type(plan)(tuple(entry for entry in plan.entries if "normed" not in entry.parameter.name))
        model.pop("normed")
    assert verify(model, plan, 0, whole=whole) == ()
    with torch.no_grad():
        model["kept"].weight.fill_(5.0)
    assert not verify(model, plan, 0, whole=whole)


def test_another_seed_differs_everywhere_in_what_is_drawn(made):
    model, plan = made
    names = {difference.name for difference in verify(model, plan, 1)}
    assert names == {entry.parameter.name for entry in plan.entries if entry.pieces and not is_constant(entry)}


def is_constant(entry):
    return not entry.filled or np.ptp(entry.draw(Key(0)).astype(float)) == 0


def test_one_changed_weight_is_found_and_samples_may_miss_it(made):
    model, plan = made
    with torch.no_grad():
        model["long"].weight[300, 7] += 1
    (difference,) = (each for each in verify(model, plan, 0, whole=True) if "normed" not in each.name)
    assert (difference.name, difference.index) == ("long.weight", (300, 7))


def test_swapped_rows_and_parts_are_found(made):
    model, plan = made
    with torch.no_grad():
        fused = model["attention"].in_proj_weight
        fused.copy_(torch.cat([fused[32:64], fused[:32], fused[64:]]))
        model["table"].weight[[5, 9]] = model["table"].weight[[9, 5]]
        model["table"].weight[3] = 1.0
    found = {each.name: each.index for each in verify(model, plan, 0, whole=True) if "normed" not in each.name}
    assert found == {"attention.in_proj_weight": (0, 0), "table.weight": (3, 0)}


def test_products_are_compared_within_the_promise():
    model = build()
    plan = init.initialize(model, RULES, seed=0, default=normal(std=0.02))
    with torch.no_grad():
        model["matrix"].weight.mul_(1 + 1e-7)
    assert verify(model, plan, 0, whole=True) == ()
    with torch.no_grad():
        model["matrix"].weight[2, 3] += 1e-4
    assert [(each.name, each.index) for each in verify(model, plan, 0)] == [("matrix.weight", (2, 3))]


def test_a_computed_weight_is_compared_as_it_is_computed():
    model = build()
    plan = init.initialize(model, RULES, seed=0, default=normal(std=0.02))
    chain = model["normed"].parametrizations["weight"]
    with torch.no_grad():
        chain.original1.mul_(3.0)  # a direction of any length
    assert verify(model, plan, 0, whole=True) == ()
    with torch.no_grad():
        chain.original0[2] *= 1.5
    assert [(each.name, each.index) for each in verify(model, plan, 0)] == [("normed.weight", (2, 0, 0))]


def test_names_shapes_and_dtypes_are_compared():
    model = build()
    plan = init.initialize(model, RULES, seed=0, default=normal(std=0.02))
    model["new"] = nn.Linear(2, 2, bias=False)
    model["long"] = nn.Linear(4, 4)
    model["kept"].half()
    model.pop("matrix")
    found = {str(each) for each in verify(model, plan, 0)}
    assert found == {
        "'new.weight' is not in the plan",
        "'matrix.weight' is not there",
        "'matrix.bias' is not there",
        "'long.weight' has shape (4, 4), the plan has (512, 512)",
        "'long.bias' has shape (4,), the plan has (512,)",
        "'kept.weight' has dtype float16, the plan has float32",
        "'kept.bias' has dtype float16, the plan has float32",
    }


def test_tensors_without_values_are_named():
    with init.skeleton():
        model = nn.Sequential(nn.Linear(30, 30))
    plan = init.plan(model, he_normal)
    assert [str(each) for each in verify(model, plan, 0)][:1] == ["'0.weight' has no values: it is on the meta device"]


def test_a_flat_range_of_a_weight_is_compared(monkeypatch):
    """As FullyShardedDataParallel keeps it; the range begins and ends within a row."""
    model = nn.Sequential(nn.Linear(50, 40, bias=False))
    plan = init.initialize(model, he_normal, seed=0)
    (stored,) = tensors.model_tensors(tensors.walk(model))
    memory = model[0].weight.detach().flatten()[77:1503].clone()
    stored.flat = fsdp1.FlatShard((40, 50), memory, 77)
    monkeypatch.setattr("initlib.adapters.torch.models.verify.model_tensors", lambda *args, **options: [stored])
    assert verify(model, plan, 0, whole=True) == ()
    memory[1000] += 1
    (difference,) = verify(model, plan, 0, whole=True)
    assert difference.index == (1077 // 50, 1077 % 50)

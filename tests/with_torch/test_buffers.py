"""Buffers that a rule with `:buffer` fills; all other buffers stay as they are."""

import re

import pytest
import torch
from fresh_memory import emptied
from torch import nn

import initlib.adapters.torch as init
from initlib import PlanError, alibi_slopes, constant, he_normal, keep, normal, rotary_frequencies, sinusoidal

EXPECTED = torch.from_numpy(rotary_frequencies()(8))


class Rotary(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("inv_freq", 10000.0 ** -(torch.arange(8) / 8), persistent=False)
        self.register_buffer("positions", torch.zeros(5, 4))
        self.register_buffer("steps", torch.arange(3))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.rotary = Rotary()
        self.layer = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)


RULES = {"*.inv_freq:buffer": rotary_frequencies(), "*.positions:buffer": sinusoidal(layout="halves")}


def on_meta():
    with torch.device("meta"):
        model = Model()
    model.rotary.steps = torch.arange(3)
    return model


def skeleton():
    with init.skeleton():
        return Model()


@pytest.mark.parametrize(
    ("make", "device"),
    [(Model, None), (lambda: emptied(Model()), None), (skeleton, "cpu"), (on_meta, "cpu")],
)
def test_a_rule_with_the_kind_fills_buffers(make, device):
    model = make()
    rules = {**RULES, "norm.weight": constant(1.0)}
    plan = init.initialize(model, rules, 0, default=normal(std=0.02), device=device)
    assert torch.equal(model.rotary.inv_freq, EXPECTED)
    assert torch.equal(model.rotary.positions, torch.from_numpy(sinusoidal(layout="halves")((5, 4))))
    assert plan["rotary.inv_freq"].parameter.kind == "buffer"
    assert "rotary.steps" not in [entry.parameter.name for entry in plan.entries]
    assert not init.verify(model, plan, 0, whole=True)
    model.rotary.inv_freq[3] += 1
    assert [each.name for each in init.verify(model, plan, 0, whole=True)] == ["rotary.inv_freq"]


def test_a_rule_without_the_kind_leaves_buffers():
    model = Model()
    model.rotary.positions.fill_(7)
    plan = init.initialize(model, {"*": normal()}, 0)
    assert (model.rotary.positions == 7).all()
    assert len(plan.entries) == 4
    with pytest.raises(PlanError, match="inv_freq"):
        init.plan(model, {"*.inv_freq": rotary_frequencies()}, default=normal())


def test_buffers_of_lists_and_pairs_of_rules_and_of_new_names_are_filled():
    for rules in ([{"layer.*": keep}, {"*.inv_freq:buffer": alibi_slopes()}], [("*.inv_freq:buffer", alibi_slopes())]):
        model = Model()
        init.initialize(model, rules, 0, default=normal())
        assert torch.equal(model.rotary.inv_freq, torch.from_numpy(alibi_slopes()(8)))
    plan = init.plan(Model(), {"rope.*:buffer": normal()}, default=normal(), rename={"rotary.inv_freq": "rope.f"})
    assert plan["rotary.inv_freq"].stream == "rope.f"


def test_a_buffer_of_a_reset_module_keeps_the_values_of_its_rule():
    model = Model()
    init.initialize(model, {"*.running_mean:buffer": constant(0.5)}, 0, default=normal())
    assert (model.norm.running_mean == 0.5).all()
    assert (model.norm.running_var == 1).all()


def test_a_buffer_of_two_modules_is_filled_once():
    model = nn.ModuleList([Rotary(), Rotary()])
    model[1].inv_freq = model[0].inv_freq
    plan = init.initialize(model, {"*.inv_freq:buffer": rotary_frequencies()}, 0)
    assert plan["0.inv_freq"].parameter.tied == ("1.inv_freq",)
    assert torch.equal(model[1].inv_freq, EXPECTED)


def test_only_and_unmatched_keep_buffers():
    model = Model()
    before = model.rotary.inv_freq.clone().fill_(3)
    model.rotary.inv_freq.fill_(3)
    init.initialize(model, RULES, 0, default=normal(), only="layer.*")
    assert torch.equal(model.rotary.inv_freq, before)
    init.initialize(model, RULES, 0, only=["rotary.inv_freq"])
    assert torch.equal(model.rotary.inv_freq, EXPECTED)
    assert not model.rotary.positions.any()
    weight = model.layer.weight.clone()
    init.initialize(model, RULES, 0, unmatched="keep")
    assert torch.equal(model.layer.weight, weight)
    assert model.rotary.positions.any()


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"*.inv_freq:buffer": keep}, "rotary.inv_freq: the plan keeps values, but the meta device has no values"),
        ({"*.nothing:buffer": normal()}, "'*.nothing:buffer' matches nothing"),
        ({"*.inv_freq:buffer": normal()}, 'or fill the buffer by a rule for "rotary.positions:buffer"'),
        ({"*.steps:buffer": normal()}, "to be drawn, got int64"),
    ],
)
def test_buffers_that_cannot_be_filled_are_errors(rules, message):
    with pytest.raises(PlanError, match=re.escape(message)):
        init.initialize(on_meta(), rules, 0, default=normal(), device="cpu")


def trained_norms():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 2))
    init.initialize(model, he_normal, 0)
    model(torch.arange(32.0).reshape(8, 4))
    with torch.no_grad():
        model[1].weight.mul_(3)
    return model, [model[1].running_mean.clone(), model[2].running_mean.clone()]


def test_statistics_stay_where_weights_without_a_rule_are_kept():
    model, means = trained_norms()
    init.initialize(model, {"3.*": normal(std=0.02)}, 1, unmatched="keep")
    assert torch.equal(model[1].running_mean, means[0])
    assert torch.equal(model[2].running_mean, means[1])
    assert all(mean.any() for mean in means)


def test_statistics_stay_with_the_weights_of_their_norm():
    model, means = trained_norms()
    init.initialize(model, {"1.*": keep}, 1, default=he_normal)
    assert torch.equal(model[1].running_mean, means[0])
    assert not model[2].running_mean.any()
    init.initialize(model, he_normal, 1)
    assert not model[1].running_mean.any()


def test_statistics_that_are_named_are_reset_beside_kept_weights():
    model, means = trained_norms()
    init.initialize(model, {"1.*": keep}, 1, default=he_normal, only=["1.running_mean", "1.running_var", "3.weight"])
    assert not model[1].running_mean.any()
    assert torch.equal(model[2].running_mean, means[1])

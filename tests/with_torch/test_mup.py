"""muP of three networks: activations are flat over the width, and stds and rates are those of the package mup."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import initlib.adapters.torch as init
from initlib import mup_learning_rates, normal, recipes, variance_scaling, zeros

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("coordinate_checks", ROOT / "examples" / "coordinate_checks.py")
networks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(networks)

KAIMING = variance_scaling(1, "fan_in", "normal")


# --- the coordinate check


@pytest.mark.parametrize("name", networks.CASES)
@pytest.mark.parametrize("optimizer", networks.RATES)
def test_activations_of_mup_are_flat_over_the_width_and_grow_in_the_standard_parametrization(name, optimizer):
    flat, standard = (networks.check(name, optimizer, mup=mup) for mup in (True, False))
    flat.assert_passed()
    assert next(row.verdict for row in flat.rows if row.name == "head") == "zero"
    assert "head" in {row.name for row in standard.growing if row.step == 1}
    widths = ", ".join(map(str, flat.widths))
    row = re.escape(f"| {name} | {widths} | {optimizer} |") + r" ([-+.\d]+) \| ([-+.\d]+) \|"
    printed = re.search(row, (ROOT / "docs" / "signals.md").read_text(encoding="utf-8"))
    assert [networks.steepest(flat), networks.steepest(standard)] == pytest.approx(
        [*map(float, printed.groups())], abs=0.02
    )


def test_activations_that_shrink_with_the_width_fail():
    """Weights with std 1 / width, which an earlier check passed."""

    def make_model(width, seed):
        model = networks.perceptron(width)
        init.initialize(model, normal(std=1 / width), seed=seed)
        return model

    def optimizer(model, width):
        return torch.optim.SGD(model.parameters(), 1e-3)

    images = networks.IMAGES
    check = init.coordinate_check(make_model, [64, 128, 256], images, networks.image_loss, optimizer=optimizer, steps=1)
    slopes = {row.name: row.slope for row in check.failing if row.step == 0}
    assert slopes == pytest.approx({"body.1": -1, "body.2": -1, "body.3": -1.5, "body.4": -1.5}, abs=0.1)
    assert check.growing == []


# --- single weights


def test_an_input_kernel_keeps_its_std_and_learning_rate():
    base, model = init.plan(nn.Conv2d(3, 64, 4), normal(std=0.02)), nn.Conv2d(3, 1024, 4)
    plan = init.initialize(model, recipes.mup(base), seed=0)
    assert plan["weight"].filling == normal(std=0.02)
    assert model.weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert mup_learning_rates(plan, base)["weight"]["lr"] == 1


def test_a_table_that_is_also_the_head_keeps_its_std_and_learning_rate():
    def tied(width):
        model = nn.Sequential(nn.Embedding(30, width), nn.Linear(width, width), nn.Linear(width, 30, bias=False))
        model[2].weight = model[0].weight
        return model

    base = init.plan(tied(16), normal(std=0.02))
    plan = init.plan(tied(64), recipes.mup(base))
    assert plan["0.weight"].filling == normal(std=0.02)
    rates = {optimizer: mup_learning_rates(plan, base, optimizer) for optimizer in ("adam", "sgd")}
    assert [rates[optimizer]["0.weight"]["lr"] for optimizer in rates] == [1, 4]
    groups = init.parameter_groups(tied(64), rates["sgd"], lr=1.0)
    assert sum(len(group["params"]) for group in groups) == 3


# --- the depth


class Branch(nn.Module):
    """A residual branch with a norm before it and a multiplier after it."""

    def __init__(self, width, multiplier):
        super().__init__()
        self.norm, self.multiplier = nn.LayerNorm(width), multiplier
        self.up, self.down = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        return x + self.multiplier * self.down(self.up(self.norm(x)).relu())


def change(layers, alpha, options):
    """Return the change of the sum of all branches in three steps of AdamW, with branches divided by growth**alpha."""
    branches = nn.Sequential(*[Branch(64, (layers / 2) ** -alpha) for _ in range(layers)])
    model = nn.Sequential(nn.Linear(192, 64), branches, nn.LayerNorm(64), nn.Linear(64, networks.CLASSES))
    plan = init.initialize(model, {"3.weight": zeros}, seed=0, default=KAIMING)
    rates = mup_learning_rates(plan, plan, "adamw", **options)
    optimizer = torch.optim.AdamW(init.parameter_groups(model, rates, lr=3e-3, eps=1e-8))
    images = networks.IMAGES.flatten(1)
    stream = model[0](images).detach()
    before = branches(stream)
    for _ in range(3):
        optimizer.zero_grad()
        networks.image_loss(model(images)).backward()
        optimizer.step()
    return (branches(stream) - before).abs().mean().item()


@pytest.mark.parametrize(
    ("alpha", "scaled", "slope"), [(1, True, -0.1), (0.5, True, 0), (0.5, False, 0.5), (0, False, 1)]
)
def test_steps_of_completep_and_depth_mup_change_deep_networks_as_much_as_shallow_ones(alpha, scaled, slope):
    layers = [2, 8, 32]
    changes = []
    for count in layers:
        options = {"blocks": "1.*", "depth": count / 2, "alpha": alpha} if scaled else {}
        changes.append(change(count, alpha, options))
    assert np.polyfit(np.log(layers), np.log(changes), 1)[0] == pytest.approx(slope, abs=0.1)


# --- the package mup


class Attention(nn.Module):
    """The layers of the package's transformer: an attention with biases of key and value, and a tied head."""

    def __init__(self, width, head):
        super().__init__()
        self.table = nn.Embedding(30, width)
        self.attention = nn.MultiheadAttention(width, 2, add_bias_kv=True)
        self.linear1, self.linear2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.head = head(self.table.weight, bias=False)


class Convolutions(nn.Sequential):
    """The layers of the package's CNN."""

    def __init__(self, width, head):
        layers = [nn.Conv2d(3, width, 5), nn.BatchNorm2d(width), nn.Conv2d(width, 2 * width, 5)]
        super().__init__(*layers, nn.Linear(50 * width, 16 * width), nn.Linear(16 * width, 10 * width))
        self.append(head(10 * width, 10))


def models(name):
    """Return a model and the same model at its base width, with the layers of mup."""
    mup = pytest.importorskip("mup")
    if name == "attention":
        return [Attention(width, mup.MuSharedReadout) for width in (64, 16)]
    if name == "convolutions":
        return [Convolutions(width, mup.MuReadout) for width in (12, 4)]
    return [networks.CASES[name].network(width, mup.MuReadout) for width in (64, 16)]


NAMES = [*networks.CASES, "attention", "convolutions"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_learning_rates_and_weight_decays_are_those_of_the_package_mup(name, optimizer):
    mup = pytest.importorskip("mup")
    model, base = models(name)
    rates = mup_learning_rates(init.plan(model, KAIMING), init.plan(base, KAIMING), optimizer, readout="multiplier")
    ours = init.parameter_groups(model, rates, lr=1.0, weight_decay=1.0)
    mup.set_base_shapes(model, base)
    make = {"adam": mup.MuAdam, "adamw": mup.MuAdamW, "sgd": mup.MuSGD}[optimizer]
    theirs = make(model.parameters(), lr=1.0, weight_decay=1.0).param_groups
    found, expected = (
        {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
        for groups in (ours, theirs)
    )
    assert found == expected


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("draw", "initializer"),
    [("normal_", normal()), ("kaiming_normal_", KAIMING), ("xavier_normal_", variance_scaling(1, "fan_avg", "normal"))],
)
def test_stds_are_those_of_the_package_mup(name, draw, initializer):
    mup = pytest.importorskip("mup")
    model, base = models(name)
    rules = {} if "convolution" in name or name == "perceptron" else {"*:table": normal()}
    wide = init.plan(model, recipes.mup(init.plan(base, rules, default=initializer), readout="multiplier"))
    mup.set_base_shapes(model, base)
    weights = [entry for entry in wide.entries if entry.parameter.kind in ("kernel", "table")]
    for entry in weights:
        weight = model.get_parameter(entry.parameter.name)
        torch.manual_seed(0)
        if entry.parameter.kind == "table":
            mup.normal_(weight)
        else:
            getattr(mup, draw)(weight, **({"a": 1} if draw == "kaiming_normal_" else {}))
        torch.manual_seed(0)
        std = (weight.detach() / torch.randn(weight.shape)).median().item()
        piece = entry.pieces[0]
        if "in_proj" in entry.parameter.name and draw == "xavier_normal_":
            std *= 2**0.5  # the package takes the fan_out of query, key and value together
        assert piece.initializer.std(piece.shape, piece.axes) == pytest.approx(std), entry.parameter.name
    assert len(weights) >= 3

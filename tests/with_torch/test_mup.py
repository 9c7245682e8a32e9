"""muP of three networks: activations are flat over the width, and stds and rates are those of the package mup."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import initlib.adapters.torch as init
from initlib import mup_learning_rates, normal, recipes, variance_scaling

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("coordinate_checks", ROOT / "examples" / "coordinate_checks.py")
networks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(networks)

KAIMING = variance_scaling(1, "fan_in", "normal")


# --- the coordinate check


@pytest.fixture(autouse=True)
def one_thread():
    """Small networks are slower with more threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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

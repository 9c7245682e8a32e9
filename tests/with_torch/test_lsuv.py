"""LSUV: the output of every layer has variance 1, and nothing else changes."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import initlib.adapters.torch as init
from initlib import keep, normal, orthogonal, zeros


class Network(nn.Module):
    """Convolutions with norms, a branch, a layer that runs twice, and a head."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(12, 5)  # made first, run last
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.bn = nn.BatchNorm2d(12)
        self.branch = nn.Conv2d(12, 12, 3, padding=1, groups=3)
        self.twice = nn.Linear(12, 12)
        self.unused = nn.Linear(4, 4)
        self.drop = nn.Dropout(0.3)
        self.fail = False

    def forward(self, x):
        x = F.relu(self.bn(self.stem(x)))
        x = F.relu(x + self.branch(x)).mean((2, 3))
        x = self.drop(self.twice(self.twice(x).tanh()))
        np.random.rand(), random.random()
        if self.fail:
            raise RuntimeError("on purpose")
        return self.head(x)


def variances(model, batch):
    """Return the variance of the output of each layer at its first run."""
    outputs = {
        row.name: row.std**2 for row in init.signals(model, batch).activations if row.owner in ("Conv2d", "Linear")
    }
    return {name: value for name, value in outputs.items() if "#" not in name}


def test_every_layer_gives_a_variance_of_1():
    torch.manual_seed(0)
    model, batch = Network().eval(), torch.randn(32, 3, 8, 8)
    report = init.lsuv_(model, batch, seed=0, tolerance=1e-3)
    assert report.converged
    names = ["stem.weight", "branch.weight", "twice.weight", "head.weight", "unused.weight"]
    assert [layer.name for layer in report.layers] == names
    assert [layer.note for layer in report.layers] == 4 * [""] + ["the layer did not run on this batch"]
    measured = variances(model, batch)
    for layer in report.layers[:4]:
        assert measured[layer.name.removesuffix(".weight")] == pytest.approx(1, abs=1e-3)
        assert layer.after == pytest.approx(1, abs=1e-3)


def test_weights_are_orthonormal_by_name_times_the_factor():
    model, batch = Network(), torch.randn(16, 3, 8, 8)
    report = init.lsuv_(model, batch, seed=3)
    started = Network()
    init.initialize(started, orthogonal(), seed=3)
    weights = dict(started.named_parameters())
    for layer in report.layers:
        expected = weights[layer.name] * layer.factor
        assert torch.allclose(model.get_parameter(layer.name), expected, rtol=1e-6)
        assert layer.factor == pytest.approx(layer.before**-0.5 if layer.iterations else 1.0) if layer.before else True
    assert all((p == 0).all() for name, p in model.named_parameters() if name.endswith("bias"))


def test_layers_within_the_tolerance_are_not_scaled():
    layer = nn.Linear(8, 8)
    report = init.lsuv_(layer, 1.02 * torch.eye(8).repeat(4, 1) * 8**0.5, seed=0, tolerance=0.2)
    assert [(row.factor, row.iterations) for row in report.layers] == [(1.0, 0)]


def test_present_weights_can_be_scaled():
    """Biases keep their share of the variance, so that several steps are needed."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 8))
    biases = [model[0].bias.clone(), model[2].bias.clone()]
    report = init.lsuv_(model, (64, 16), {"*": keep}, tolerance=1e-4)
    assert report.converged
    assert all(layer.iterations > 1 for layer in report.layers)
    assert torch.equal(model[0].bias, biases[0])
    with torch.no_grad():
        model[2].bias.mul_(100)
    stopped = init.lsuv_(model, (64, 16), {"*": keep}, max_iterations=3)
    assert not stopped.converged
    assert stopped.layers[1].note == "not within the tolerance after max_iterations"
    assert "Linear  " in str(stopped)
    assert stopped.to_dicts()[1]["iterations"] == 3


def test_other_initializers_and_weight_norms_can_be_scaled():
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(16, 32)), nn.ReLU(), nn.Linear(32, 32), nn.LSTM(32, 4)
    )
    report = init.lsuv_(model, (64, 16), normal(std=0.3), seed=0, tolerance=1e-3)
    notes = dict.fromkeys(("3.weight_ih_l0", "3.weight_hh_l0"), "the layer is not linear in one weight")
    assert {layer.name: layer.note for layer in report.layers} == {"0.weight": "", "2.weight": "", **notes}
    measured = {row.name: row.std**2 for row in init.signals(model, (64, 16)).activations}
    assert (measured["0"], measured["2"]) == pytest.approx((1, 1), abs=1e-3)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("fail", [False, True])
def test_hooks_modes_gradients_and_random_states_are_restored(fail):
    model = Network()
    model.head.eval()
    nn.init.zeros_(model.stem.bias.requires_grad_(False))
    init.initialize(model, orthogonal(), seed=0)
    model(torch.randn(4, 3, 8, 8)).sum().backward()
    model.fail = fail
    calls = []
    handle = model.stem.register_forward_hook(lambda *args: calls.append(1))
    gradients = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    before, batch = state(model), torch.randn(4, 3, 8, 8)
    modes, kept = [module.training for module in model.modules()], batch.clone()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = torch.rand(3), np.random.rand(), random.random()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    if fail:
        with pytest.raises(RuntimeError, match="on purpose"):
            init.lsuv_(model, batch, seed=0)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    else:
        init.lsuv_(model, batch, seed=0)
        assert model.bn.num_batches_tracked == 0  # as `initialize` leaves it
        assert torch.equal(model.bn.running_mean, torch.zeros(12))
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(), random.random()) == expected[1:]
    assert [module.training for module in model.modules()] == modes
    assert not model.stem.bias.requires_grad
    assert model.head.weight.requires_grad
    for name, p in model.named_parameters():
        assert (p.grad is None) == (gradients[name] is None)
        assert p.grad is None or torch.equal(p.grad, gradients[name])
    assert torch.equal(batch, kept)
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()) == 1
    handle.remove()


def test_errors_leave_the_model_as_it_was():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    before = state(model)
    for batch, rules, message in (
        (torch.zeros(5, 4), None, r"the output of the layer of 0\.weight must vary and be finite, got the same output"),
        (
            (5, 4),
            {"2.weight": zeros, "*": keep},
            r"the output of the layer of 2\.weight must vary and be finite, got the same output",
        ),
        (
            torch.full((5, 4), torch.inf),
            None,
            r"the output of the layer of 0\.weight must vary and be finite, got a value that is not",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            init.lsuv_(model, batch, rules, seed=0)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert not any("_initlib_constants" in vars(module) for module in model.modules())
    with pytest.raises(ValueError, match="tolerance must be above 0"):
        init.lsuv_(model, (5, 4), tolerance=0)
    with pytest.raises(ValueError, match="max_iterations must be at least 1"):
        init.lsuv_(model, (5, 4), max_iterations=0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

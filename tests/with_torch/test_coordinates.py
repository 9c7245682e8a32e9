"""Coordinate check: muP passes and the standard parametrization fails."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import initlib.adapters.torch as init
from initlib import he_normal, mup_learning_rates, normal, recipes

WIDTHS, BASE, RATE = [64, 128, 256, 512], 64, 0.01
BATCH = torch.arange(24)


class Network(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.table = nn.Embedding(24, width)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.head = nn.Linear(width, 24)

    def forward(self, x):
        x = self.table(x)
        x = x + F.relu(self.first(x))
        return self.head(F.relu(self.second(x)))


def loss(y):
    return F.cross_entropy(y, BATCH.roll(1))


def mup(width, seed):
    model = Network(width)
    base = init.plan(Network(BASE), normal(std=BASE**-0.5))
    init.initialize(model, recipes.mup(base), seed=seed)
    return model


def mup_adam(model, width):
    multipliers = mup_learning_rates(init.plan(model, normal()), init.plan(Network(BASE), normal()))
    return torch.optim.Adam(init.parameter_groups(model, multipliers, lr=RATE))


def standard(width, seed):
    model = Network(width)
    init.initialize(model, he_normal, seed=seed)
    return model


def adam(model, width):
    return torch.optim.Adam(model.parameters(), RATE)


def test_mup_passes():
    check = init.coordinate_check(mup, WIDTHS, BATCH, loss, optimizer=mup_adam, steps=4)
    assert check.passed
    assert [row.name for row in check.rows[:6]] == ["table", "first", "relu()", "second", "relu()#2", "head"]
    assert all(abs(row.slope) < 0.05 for row in check.rows if row.name != "head")
    heads = [row.slope for row in check.rows if row.name == "head"]
    assert heads[0] == pytest.approx(-0.5, abs=0.05)  # a sum of width terms of size 1 / width, by chance
    assert heads == sorted(heads)  # and then less and less


def test_the_standard_parametrization_fails():
    check = init.coordinate_check(standard, WIDTHS, BATCH, loss, optimizer=adam, steps=4)
    assert all(row.verdict == "steady" for row in check.rows if row.step == 0)
    assert {"head", "second"} <= {row.name for row in check.growing if row.step == 4}
    assert {row.name: row.slope for row in check.rows if row.step == 4}["head"] > 0.8


def test_mup_with_one_learning_rate_for_all_widths_fails():
    check = init.coordinate_check(mup, WIDTHS, BATCH, loss, optimizer=adam, steps=4, seeds=1)
    assert "head" in {row.name for row in check.growing}


def test_sizes_are_means_over_seeds():
    def made(width, seed):
        model = nn.Linear(4, width, bias=False)
        init.fill_(model.weight, normal(), seed=seed)
        return model

    batch = torch.ones(3, 4).cumsum(0)
    check = init.coordinate_check(made, [8, 16], batch, optimizer=adam, steps=0, seeds=2)
    expected = [sum(made(width, seed)(batch).abs().mean().item() for seed in range(2)) / 2 for width in (8, 16)]
    assert check.rows[0].sizes == pytest.approx(tuple(expected))
    assert (check.widths, check.rows[0].step, len(check.rows)) == ((8, 16), 0, 1)


def test_models_that_seed_pytorch_are_repeatable_and_random_states_are_restored():
    def noisy(width, seed):
        return nn.Sequential(nn.Linear(4, width), nn.Dropout(0.5), nn.BatchNorm1d(width), nn.Linear(width, 2))

    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    runs = [init.coordinate_check(noisy, [8, 16], (6, 4), optimizer=adam, steps=2, seeds=1) for _ in range(2)]
    assert torch.equal(torch.rand(2), expected)
    assert runs[0].rows == runs[1].rows


def test_training_without_a_gradient_is_an_error():
    class Detached(nn.Linear):
        def forward(self, x):
            return super().forward(x).detach()

    with pytest.raises(ValueError, match=r"loss must depend on the output of the model, got a loss without a gradient"):
        init.coordinate_check(mup, [8, 16], BATCH, lambda output: output.detach().mean(), optimizer=adam)
    with pytest.raises(ValueError, match=r"make_model must return a model whose output depends on its parameters, got"):
        init.coordinate_check(lambda width, seed: Detached(4, width), [8, 16], (5, 4), optimizer=adam)


def test_wrong_arguments_are_errors():
    def made(width, seed):
        return nn.Sequential(*[nn.Linear(4, 4) for _ in range(width)])

    with pytest.raises(ValueError, match=r"widths must have at least two different numbers, to fit a slope, got \[8\]"):
        init.coordinate_check(mup, [8, 8], BATCH, optimizer=adam)
    with pytest.raises(
        ValueError,
        match=r"make_model must return models with the same activations for all widths, got .1. for only one",
    ):
        init.coordinate_check(made, [1, 2], (5, 4), optimizer=adam)
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        init.coordinate_check(mup, [8, 16], BATCH, optimizer=adam, seeds=0)
    with pytest.raises(ValueError, match="tolerance must be above 0"):
        init.coordinate_check(mup, [8, 16], BATCH, optimizer=adam, tolerance=0)

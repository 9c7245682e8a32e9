"""Compiled models and losses: measurements run them eagerly, because PyTorch's compiler can fail on hooks."""

import pytest
import torch
from torch import nn

import initlib.adapters.torch as init
from initlib import he_normal, recipes


@pytest.fixture(autouse=True)
def compiler():
    """Remove the code that other tests compiled."""
    torch.compiler.reset()


def compiled(function):
    return torch.compile(function, backend="eager")


def plain():
    model = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 2))
    init.initialize(model, he_normal, seed=0)
    return model


def with_compiled_layer():
    model = plain()
    model[0] = compiled(model[0])
    return model


def compiled_in_place():
    model = plain()
    model.compile(backend="eager")
    return model


MODELS = [with_compiled_layer, compiled_in_place, lambda: compiled(plain())]


@pytest.mark.parametrize("make", MODELS)
def test_compiled_models_have_the_signals_of_plain_models(make):
    expected, report = init.signals(plain(), (16, 8)), init.signals(make(), (16, 8))
    assert report.parameters == expected.parameters
    assert [(row.std, row.gradient_std) for row in report.activations] == [
        (row.std, row.gradient_std) for row in expected.activations
    ]


@pytest.mark.parametrize("make", MODELS)
def test_compiled_models_are_scaled_and_followed_as_plain_models(make):
    model, expected = make(), plain()
    assert recipes.analytic(model, (16, 8)) == recipes.analytic(expected, (16, 8))
    assert init.lsuv_(model, (64, 8), seed=0).layers == init.lsuv_(expected, (64, 8), seed=0).layers


def test_widths_of_compiled_models_are_compared():
    def sgd(model, width):
        return torch.optim.SGD(model.parameters(), 0.1)

    def make(width, seed):
        return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, 2))

    arguments = ([4, 8], (5, 8))
    expected = init.coordinate_check(make, *arguments, optimizer=sgd, seeds=1)
    check = init.coordinate_check(lambda width, seed: compiled(make(width, seed)), *arguments, optimizer=sgd, seeds=1)
    assert [row.slope for row in check.rows] == [row.slope for row in expected.rows]


def test_a_compiled_loss_is_the_loss():
    def loss(output):
        return (output - 1).square().mean()

    assert init.signals(plain(), (16, 8), compiled(loss)).loss == init.signals(plain(), (16, 8), loss).loss

"""Parameter groups: the learning rates and weight decays of muP for an optimizer of PyTorch."""

import pytest
import torch
from torch import nn

import initlib.adapters.torch as init
from initlib import mup_learning_rates, normal


def network(width):
    return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Linear(width, width), nn.Linear(width, 3))


@pytest.fixture
def multipliers():
    wide, base = (init.plan(network(width), normal(std=0.02)) for width in (256, 64))
    return mup_learning_rates(wide, base, "adamw")


def test_parameters_with_equal_rates_share_a_group(multipliers):
    model = network(256)
    groups = init.parameter_groups(model, multipliers, lr=0.1, weight_decay=0.5)
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(groups) == 2
    for name, p in model.named_parameters():
        assert rates[id(p)] == ((0.025, 2.0) if name in ("2.weight", "3.weight") else (0.1, 0.5))
    optimizer = torch.optim.AdamW(groups)
    model(torch.ones(2, 8)).sum().backward()
    optimizer.step()


def test_epsilon_of_adam_is_scaled_in_blocks():
    model = network(256)
    wide, base = (init.plan(network(width), normal(std=0.02)) for width in (256, 64))
    multipliers = mup_learning_rates(wide, base, blocks="2.*", depth=2)
    groups = init.parameter_groups(model, multipliers, lr=0.1, eps=1e-6)
    epsilon = {id(p): group["eps"] for group in groups for p in group["params"]}
    for name, p in model.named_parameters():
        assert epsilon[id(p)] == pytest.approx(1e-6 / 8 if name.startswith("2.") else 1e-6)
    assert {group["eps"] for group in torch.optim.Adam(groups).param_groups} == set(epsilon.values())
    assert all("eps" not in group for group in init.parameter_groups(model, multipliers, lr=0.1))


def test_frozen_parameters_are_in_no_group(multipliers):
    model = network(256)
    model[0].requires_grad_(False)
    groups = init.parameter_groups(model, multipliers, lr=0.1)
    assert sum(len(group["params"]) for group in groups) == 4


def test_a_parameter_without_multipliers_is_named(multipliers):
    with pytest.raises(
        ValueError, match=r"multipliers must have every parameter of the model, got none for '4\.weight'"
    ):
        init.parameter_groups(nn.Sequential(*network(256), nn.Linear(3, 3)), multipliers, lr=0.1)
    with pytest.raises(ValueError, match="lr must be above 0"):
        init.parameter_groups(network(256), multipliers, lr=0)


def test_swapped_arguments_are_errors(multipliers):
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got dict"):
        init.parameter_groups(multipliers, network(256), lr=0.1)
    with pytest.raises(TypeError, match=r"multipliers must be a mapping from names .* got a float"):
        init.parameter_groups(network(256), 0.1, lr=0.1)


def test_multipliers_of_a_parameter_must_be_a_mapping():
    model = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"multipliers of 'weight' must be a mapping such as \{'lr': 0.5\}, got 0\.5"):
        init.parameter_groups(model, {"weight": 0.5, "bias": 0.5}, lr=1e-3)

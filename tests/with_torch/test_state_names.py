"""Names of state dictionaries in `only=`: those of compiled, parallel, parametrized and weight-normed models."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from initlib import he_normal
from initlib.adapters.torch import initialize


def model(norm=None):
    return nn.Sequential(nn.Linear(4, 4), (norm or (lambda layer: layer))(nn.Linear(4, 4)), nn.BatchNorm1d(4))


def old_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer)


WRAPPERS = {
    "compiled": lambda: torch.compile(model(), backend="eager"),
    "parallel": lambda: nn.DataParallel(model()),
    "averaged": lambda: torch.optim.swa_utils.AveragedModel(model()),
    "weight norm": lambda: model(parametrizations.weight_norm),
    "old weight norm": lambda: model(old_norm),
    "compiled weight norm": lambda: torch.compile(model(parametrizations.weight_norm), backend="eager"),
}


@pytest.mark.parametrize("build", WRAPPERS.values(), ids=WRAPPERS)
def test_missing_keys_are_filled(build):
    whole, other = build(), build()
    initialize(whole, he_normal, seed=0)
    state = {name: tensor for name, tensor in whole.state_dict().items() if "1." not in name}
    missing = other.load_state_dict(state, strict=False).missing_keys
    made = initialize(other, he_normal, seed=0, only=missing)
    assert not made["0.weight"].pieces
    expected = whole.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in other.state_dict().items())


def test_half_of_a_weight_norm_is_an_error():
    with pytest.raises(ValueError, match=r"original1' alone. Pass both, or neither"):
        initialize(model(parametrizations.weight_norm), he_normal, seed=0, only=["1.parametrizations.weight.original1"])


def test_names_of_plans_stay_valid():
    compiled = torch.compile(model(), backend="eager")
    made = initialize(compiled, he_normal, seed=0, only=["1.weight"])
    assert list(made.draw(0)) == ["1.weight"]

"""Computed weights in `named`: a draw into one sets the tensors that it is computed from."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import initlib.adapters.torch as init
from initlib import normal
from initlib.adapters.torch import named

pytestmark = pytest.mark.filterwarnings("ignore:.*(weight_norm|spectral_norm).*deprecated:FutureWarning")


class Exponential(nn.Module):
    """A positive weight: the exponential of the stored tensor."""

    def forward(self, stored):
        return stored.exp()

    def right_inverse(self, weight):
        return weight.abs().log()


class TwoHalves(nn.Module):
    """A weight in two stored tensors."""

    def forward(self, top, bottom):
        return torch.cat([top, bottom])

    def right_inverse(self, weight):
        return weight[:3], weight[3:]


class Cube(nn.Module):
    """A weight without a right inverse."""

    def forward(self, stored):
        return stored**3


def parametrized(*steps):
    def compute(layer):
        for step in steps:
            parametrize.register_parametrization(layer, "weight", step())
        return layer

    return compute


COMPUTATIONS = {
    "weight_norm": parametrizations.weight_norm,
    "weight_norm along another axis": lambda layer: parametrizations.weight_norm(layer, dim=1),
    "old weight_norm": nn.utils.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "old spectral_norm": nn.utils.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "own": parametrized(TwoHalves),
    "two steps": parametrized(Exponential, Exponential),
    "prune": lambda layer: prune.random_unstructured(layer, "weight", 0.3),
    "prune twice": lambda layer: prune.l1_unstructured(prune.random_unstructured(layer, "weight", 0.3), "weight", 0.3),
}
ACTIONS = {
    "reset_parameters": lambda layer: layer.reset_parameters(),
    "uniform_": lambda layer: nn.init.uniform_(layer.weight),
    "normal_": lambda layer: nn.init.normal_(layer.weight),
    "xavier_uniform_": lambda layer: nn.init.xavier_uniform_(layer.weight),
    "kaiming_normal_": lambda layer: nn.init.kaiming_normal_(layer.weight),
    "trunc_normal_": lambda layer: nn.init.trunc_normal_(layer.weight),
    "orthogonal_": lambda layer: nn.init.orthogonal_(layer.weight),
    "sparse_": lambda layer: nn.init.sparse_(layer.weight, 0.2),
    "data": lambda layer: layer.weight.data.normal_(),
    "data, scaled": lambda layer: layer.weight.data.normal_().mul_(0.5),
    "adapter": lambda layer: init.he_normal_(layer.weight),
    "adapter, orthogonal": lambda layer: init.orthogonal_(layer.weight),
    "adapter, with a seed": lambda layer: init.he_normal_(layer.weight, seed=5),
}


def built(compute, seed, called=False):
    torch.manual_seed(seed)
    model = nn.ModuleDict({"layer": compute(nn.Linear(8, 6))})
    if called:
        model["layer"](torch.ones(2, 8))
    return model


def called(model):
    """Return the weight in a call: hooks compute it only then."""
    model.eval()
    model["layer"](torch.ones(2, 8))
    return model["layer"].weight.detach().clone()


@pytest.mark.parametrize("was_called", [False, True])
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("compute", COMPUTATIONS)
def test_models_are_equal_only_under_one_seed(compute, action, was_called):
    weights = []
    for start, seed in ((0, 0), (1, 0), (1, 1)):
        model = built(COMPUTATIONS[compute], start, was_called)
        before = called(built(COMPUTATIONS[compute], start, was_called))
        with named(model, seed=seed):
            ACTIONS[action](model["layer"])
        weights.append(called(model))
        if not action.startswith("adapter, with"):
            assert not torch.equal(weights[-1], before)
    first, second, third = weights
    if compute.startswith("prune"):  # the masks were drawn by the constructors
        kept = (first != 0) & (second != 0)
        first, second, third = first[kept], second[kept], third[kept]
    assert torch.equal(first, second)
    # The estimates of a spectral norm follow from the seed of the model.
    assert torch.allclose(first, third, rtol=0.05) == (action == "adapter, with a seed")


@pytest.mark.parametrize("action", ["normal_", "kaiming_normal_", "trunc_normal_", "data, scaled", "adapter"])
@pytest.mark.parametrize("compute", ["weight_norm", "old weight_norm", "own", "prune"])
def test_a_computed_weight_has_the_bits_of_a_stored_weight(compute, action):
    model, plain = built(COMPUTATIONS[compute], 0), nn.ModuleDict({"layer": nn.Linear(8, 6)})
    for each in (model, plain):
        with named(each, seed=0):
            ACTIONS[action](each["layer"])
    weight = called(model)
    kept = weight != 0 if compute == "prune" else torch.ones_like(weight, dtype=torch.bool)
    assert torch.allclose(weight[kept], plain["layer"].weight[kept], rtol=1e-6)


@pytest.mark.parametrize("compute", ["weight_norm", "weight_norm along another axis", "old weight_norm"])
def test_weight_norm_gets_the_bits_of_initialize(compute):
    model, other = built(COMPUTATIONS[compute], 0), built(COMPUTATIONS[compute], 1)
    with named(model, seed=0):
        nn.init.normal_(model["layer"].weight, std=0.3)
    init.initialize(other, {"layer.weight": normal(std=0.3)}, seed=0, only="layer.weight")
    for name, stored in model.named_parameters():
        if "bias" not in name:
            assert torch.equal(stored, other.get_parameter(name)), name
    assert torch.equal(called(model), called(other))


def test_spectral_norm_divides_the_drawn_weight_by_its_norm():
    for name in ("spectral_norm", "old spectral_norm"):
        model, stored = built(COMPUTATIONS[name], 0, True), "parametrizations.weight.original"
        with named(model, seed=0):
            nn.init.normal_(model["layer"].weight)
        drawn = model["layer"].get_parameter(stored if name == "spectral_norm" else "weight_orig").detach()
        assert torch.linalg.matrix_norm(called(model), 2).item() == pytest.approx(1, rel=0.05)
        assert torch.allclose(called(model), drawn / torch.linalg.matrix_norm(drawn, 2), rtol=0.05)


def test_an_orthogonal_draw_stays_as_drawn():
    model, plain = built(parametrizations.orthogonal, 0), torch.empty(6, 8)
    with named(model, seed=0):
        init.orthogonal_(model["layer"].weight)
    init.orthogonal_(plain, seed=0, name="layer.weight")
    assert torch.allclose(called(model), plain, atol=1e-6)


def test_a_draw_into_a_slice_of_a_computed_weight_fills_a_box():
    model, plain = built(parametrizations.weight_norm, 0), nn.ModuleDict({"layer": nn.Linear(8, 6)})
    before = called(model)
    for each in (model, plain):
        with named(each, seed=0), torch.no_grad():
            each["layer"].weight[2:4].normal_()
    assert torch.allclose(called(model)[2:4], plain["layer"].weight[2:4], rtol=1e-6)
    assert torch.allclose(called(model)[:2], before[:2], rtol=1e-6)


def test_a_call_inside_sees_the_drawn_weight():
    for compute in COMPUTATIONS.values():
        model = built(compute, 0)
        model.eval()
        with named(model, seed=0), torch.no_grad():
            nn.init.normal_(model["layer"].weight, std=2.0)
            inside = model["layer"](torch.eye(8))
        assert torch.allclose(inside, model["layer"](torch.eye(8)))


def test_the_error_without_a_right_inverse_names_the_stored_tensor():
    model = built(parametrized(Cube), 0)
    before = model["layer"].weight.detach().clone()
    for action in ("reset_parameters", "data", "adapter", "orthogonal_"):
        with named(model, seed=0):
            nn.init.ones_(model["layer"].bias)
        with (
            pytest.raises(RuntimeError, match=r"Draw into layer\.parametrizations\.weight\.original\.$"),
            named(model, seed=0),
        ):
            ACTIONS[action](model["layer"])
        assert torch.equal(model["layer"].weight, before)
    with named(model, seed=0):
        nn.init.normal_(model["layer"].parametrizations.weight.original)
    assert not torch.equal(model["layer"].weight, before)


def test_the_error_of_a_right_inverse_names_the_stored_tensor():
    layer = parametrizations.orthogonal(nn.Linear(8, 6), orthogonal_map="cayley", use_trivialization=False)
    model = nn.ModuleDict({"layer": layer})
    with (
        pytest.raises(RuntimeError, match=r"layer\.weight is computed from layer\.parametrizations\.weight\.original"),
        named(model, seed=0),
    ):
        nn.init.orthogonal_(layer.weight)


def test_results_of_a_formula_on_a_computed_weight_are_not_stored():
    model = built(parametrizations.weight_norm, 0)
    before = {name: stored.detach().clone() for name, stored in model.named_parameters()}
    with named(model, seed=0), torch.no_grad():
        noise = model["layer"].weight * 2
        noise.normal_(generator=torch.Generator())
        model["layer"](torch.ones(2, 8))
    assert all(torch.equal(stored, before[name]) for name, stored in model.named_parameters())


def test_the_modules_keep_no_hooks():
    model = built(parametrizations.weight_norm, 0)
    chain = model["layer"].parametrizations["weight"]
    with named(model, seed=0):
        assert chain._forward_hooks
    assert not chain._forward_hooks
    assert not chain._forward_pre_hooks


def test_lazy_modules_are_drawn_when_they_have_a_shape():
    drawn = []
    for lazy in (True, False):
        model = nn.Sequential(nn.LazyLinear(4) if lazy else nn.Linear(6, 4), nn.ReLU(), nn.LazyLinear(3))
        with named(model, seed=0):
            if not lazy:
                model[0].reset_parameters()
            model(torch.ones(2, 6))
        drawn.append(model)
    for one, other in zip(*(model.parameters() for model in drawn), strict=True):
        assert torch.equal(one, other)

"""Parameters: names that no wrapper changes, ties, constructor values, and values that cannot be known."""

import copy
import pickle
import warnings

import pytest
import torch
from fresh_memory import emptied
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn.utils import parametrizations, parametrize

from initlib import PlanError, constant, keep, normal, ones, zeros
from initlib.adapters.torch import initialize, plan
from initlib.adapters.torch.models.parameters import parameters
from initlib.adapters.torch.models.tensors import model_tensors, walk


def fills(model, rules=None):
    """Return the fill of each parameter, by name."""
    return {entry.parameter.name: entry.filling for entry in plan(model, rules, default=normal()).entries}


def by_name(module):
    return {parameter.name: parameter for parameter in parameters(model_tensors(walk(module)))}


class Block(nn.Module):
    """A zero scale, a small one and a scalar, as real models have them; a tied head; a row of padding."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 4, padding_idx=2)
        self.norm = nn.LayerNorm(4)
        self.gamma = nn.Parameter(1e-6 * torch.ones(4))
        self.logit = nn.Parameter(torch.tensor(2.66))
        self.mixed = nn.Parameter(torch.arange(3.0))
        self.count = nn.Parameter(torch.tensor([3]), requires_grad=False)
        self.head = nn.Linear(4, 7)
        self.head.weight = self.table.weight
        nn.init.zeros_(self.norm.weight)
        nn.init.constant_(self.head.bias, -4.5)


def test_a_module_states_facts_about_its_parameters():
    by_names = by_name(Block())
    table = by_names["table.weight"]
    assert (table.shape, table.dtype, table.axes, table.kind, table.owner) == (
        (7, 4),
        "float32",
        "IO",
        "table",
        "Embedding",
    )
    assert table.tied == ("head.weight",)
    assert table.padding == 2
    assert by_names["gamma"].owner == "Block"
    assert "head.weight" not in by_names


def test_constants_stay():
    filled = fills(Block(), {"mixed": keep})
    assert filled["norm.weight"] == zeros
    assert filled["norm.bias"] == zeros
    assert filled["gamma"] == constant(1e-6)
    assert filled["logit"] == constant(2.66)
    assert filled["count"] is keep
    assert filled["head.bias"] == constant(-4.5)
    with pytest.raises(PlanError, match=r'mixed: no rule matches, .* Add the rule \{"mixed": keep\}'):
        plan(Block(), default=normal())


@pytest.mark.parametrize("through", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_of_a_model_have_the_same_records(through):
    model = Block()
    assert by_name(through(model)) == by_name(model)


def test_constants_are_read_in_every_precision():
    assert fills(Block().double(), {"mixed": keep})["gamma"] == constant(float(torch.tensor(1e-6)))
    half = fills(Block().bfloat16(), {"mixed": keep})
    assert half["logit"] == constant(float(torch.tensor(2.66, dtype=torch.bfloat16)))


def test_values_of_fresh_memory_are_ignored():
    names = ("gamma", "logit", "mixed")
    filled = fills(emptied(Block()), dict.fromkeys(names, ones))
    assert filled["norm.weight"] == ones
    assert filled["head.bias"] == zeros
    with pytest.raises(PlanError) as raised:
        fills(emptied(Block()))
    for name in names:
        assert f"{name}: no rule matches, and the value that the constructor set is unknown" in str(raised.value)


@pytest.mark.parametrize(
    ("module", "set_in_place", "value"),
    [
        (nn.LayerNorm(4), lambda module: nn.init.constant_(module.weight, 0.25), 0.25),
        (nn.BatchNorm2d(4), lambda module: nn.init.zeros_(module.weight), 0),
        (nn.PReLU(init=0.125), lambda module: None, 0.125),
    ],
)
def test_constants_of_a_module_without_matrices_stay(module, set_in_place, value):
    set_in_place(module)
    assert plan(module, normal())["weight"].filling == constant(value)


def test_a_constant_stays_beside_a_matrix_of_zeros():
    model = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4))
    nn.init.constant_(model[0].weight, 0.25)
    nn.init.zeros_(model[1].weight)
    assert plan(model, normal())["0.weight"].filling == constant(0.25)


def test_a_norm_in_fresh_memory_starts_as_its_class_states():
    with torch.device("meta"):
        norm = nn.LayerNorm(4)
    norm.to_empty(device="cpu")
    norm.weight.data = torch.full((4,), 0.25)  # old memory: not counted as a write
    assert plan(norm, normal())["weight"].filling == ones


def test_a_tensor_that_was_trained_and_then_frozen_needs_a_rule():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    initialize(model, normal(), seed=0)
    assert initialize(model, normal(), seed=0)["1.weight"].filling == ones
    model[:2].requires_grad_(False)
    assert plan(model, {"0.*": keep}, default=normal())["1.weight"].filling == ones
    with torch.no_grad():
        model[1].weight.uniform_()
        model[1].bias.uniform_()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(PlanError, match=r"1\.weight: no rule matches, and the parameter is frozen") as raised:
        initialize(model, {"0.*": keep}, seed=1, default=normal())
    assert "1.bias" in str(raised.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    initialize(model, {"0.*": keep, "1.*": keep}, seed=1, default=normal())
    assert torch.equal(model[1].running_mean, before["1.running_mean"])
    assert torch.equal(model[1].weight, before["1.weight"])


class RMSNorm(nn.Module):
    """A norm of another package, which may multiply by the scale or by 1 + scale."""

    def __init__(self, value):
        super().__init__()
        self.weight = nn.Parameter(torch.full((4,), value))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_norms_of_other_libraries_keep_their_scale(value):
    model = nn.Sequential(nn.Linear(4, 4), RMSNorm(value))
    assert fills(model)["1.weight"] == constant(value)
    with pytest.raises(PlanError, match=r"1.weight: .*the value that the constructor set is unknown"):
        fills(emptied(model))


def test_a_trained_norm_of_another_library_needs_a_rule():
    model = nn.Sequential(nn.Linear(4, 4), RMSNorm(1.0))
    with torch.no_grad():
        model[1].weight[0] = 2.0
    with pytest.raises(PlanError, match=r'Add the rule \{"\*1.weight": keep\}|Add the rule \{"1.weight": keep\}'):
        fills(model)


def wrapped(model):
    yield checkpoint_wrapper(model)
    yield torch.compile(model, backend="eager")
    yield nn.DataParallel(model)
    yield torch.optim.swa_utils.AveragedModel(model)
    yield torch.compile(nn.DataParallel(checkpoint_wrapper(model)), backend="eager")


def test_wrappers_are_no_part_of_a_name():
    class Deep(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.module = inner  # not a wrapper's

    model = Deep(Block())
    names = list(by_name(model))
    assert "module.table.weight" in names
    for wrapper in wrapped(model):
        assert list(by_name(wrapper)) == names
    model.module = checkpoint_wrapper(model.module)
    assert list(by_name(model)) == names


def test_one_module_in_two_places_is_tied():
    shared = nn.Linear(3, 3)
    by_names = by_name(nn.Sequential(shared, nn.ReLU(), shared))
    assert {name: parameter.tied for name, parameter in by_names.items()} == {
        "0.weight": ("2.weight",),
        "0.bias": ("2.bias",),
    }


def test_ties_that_a_model_names_are_kept():
    """Models of transformers name their ties."""

    class Model(Block):
        def __init__(self):
            super().__init__()
            self.all_tied_weights_keys = {"head.weight": "table.weight", "gone": "table.weight"}

    for model in (emptied(Model()), nn.ModuleDict({"model": emptied(Model())})):
        (table,) = (parameter for parameter in by_name(model).values() if parameter.kind == "table")
        assert table.tied[0].endswith("head.weight")


def test_weight_norm_counts_as_its_weight():
    model = nn.Sequential(parametrizations.weight_norm(nn.Conv1d(4, 6, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        older = nn.Sequential(nn.utils.weight_norm(nn.Conv1d(4, 6, 3)))
    for by_names in (by_name(model), by_name(older)):
        assert sorted(by_names) == ["0.bias", "0.weight"]
        weight = by_names["0.weight"]
        assert (weight.shape, weight.axes, weight.kind, weight.owner) == ((6, 4, 3), "OIW", "kernel", "Conv1d")


def test_other_parametrizations_need_a_rule():
    class Symmetric(nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).mT

    linear = nn.Linear(4, 4)
    parametrize.register_parametrization(linear, "weight", Symmetric())
    old = nn.utils.spectral_norm(nn.Linear(4, 4))
    by_names = by_name(nn.ModuleList([linear, parametrizations.spectral_norm(nn.Linear(4, 4)), old]))
    needs = {name: parameter.needs for name, parameter in by_names.items() if parameter.needs}
    assert {name: text.split()[3] for name, text in needs.items()} == {
        "0.parametrizations.weight.original": "Symmetric",
        "1.parametrizations.weight.original": "_SpectralNorm",
        "2.weight_orig": "SpectralNorm",
    }
    assert all(by_names[name].axes == "OI" for name in needs)


def test_a_lazy_parameter_is_an_error():
    with pytest.raises(
        PlanError, match=r"0.weight, 0.bias: LazyLinear is lazy, and its parameters have no shape yet. Run a batch"
    ) as raised:
        model_tensors(walk(nn.Sequential(nn.LazyLinear(3), nn.LazyConv2d(3, 3))))
    assert len(raised.value.problems) == 4


def test_axes_that_do_not_fit_are_an_error():
    model = Block()
    model.initlib_axes = {"gamma": "OI"}
    with pytest.raises(PlanError, match="gamma: axes must name 1 axes for shape"):
        by_name(model)
    model.initlib_axes = {"gama": "O"}
    with pytest.raises(PlanError, match=r"parameters of Block .*, got 'gama'"):
        by_name(model)


def test_two_tensors_of_one_name_are_an_error():
    model = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False)})
    model.add_module("_orig_mod", nn.ModuleDict({"a": nn.Linear(2, 2, bias=False)}))
    with pytest.raises(PlanError, match=r"a.weight: two tensors have this name"):
        model_tensors(walk(model))

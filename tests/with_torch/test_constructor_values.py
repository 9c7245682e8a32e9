"""Constructor values: values set on purpose stay or need a rule, and notes state every choice."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from initlib import PlanError, constant, he_normal, keep, normal, ones, parts, zeros
from initlib.adapters.torch import initialize, plan

SMALL = normal(std=0.02)


def test_a_frozen_tensor_needs_a_rule():
    model = nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 8))
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    with pytest.raises(PlanError, match=r'0.weight: .*frozen.* \{"0.weight": keep\}'):
        initialize(model, SMALL, seed=0)
    initialize(model, {"0.weight": keep}, seed=0, default=SMALL)
    assert torch.equal(model[0].weight, before)


def test_a_model_with_all_parameters_frozen_is_drawn():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).requires_grad_(False)
    assert plan(model, SMALL)["0.weight"].filling == SMALL


def test_a_frozen_constant_stays():
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))
    model[1].weight.requires_grad_(False)
    assert plan(model, SMALL)["1.weight"].filling == ones
    assert "frozen" in plan(model, SMALL)["1.weight"].notes


class Scaled(nn.Module):
    """A scale of three axes, as in vision transformers, and a layer that starts at zero, as in LoRA and ControlNet."""

    def __init__(self):
        super().__init__()
        self.down = nn.Linear(8, 4)
        self.up = nn.Linear(4, 8)
        self.gamma = nn.Parameter(1e-5 * torch.ones(1, 1, 8))
        self.temperature = nn.Parameter(torch.full((4, 1, 1), 2.3))
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)


@pytest.mark.parametrize("through", [lambda model: model, copy.deepcopy])
def test_constants_of_any_number_of_axes_stay(through):
    made = plan(through(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 8), Scaled())), SMALL)
    assert made["3.gamma"].filling == constant(1e-5)
    assert made["3.gamma"].notes == ("1e-05 as constructed",)
    assert made["3.temperature"].filling == constant(2.3)
    assert made["3.up.weight"].filling == zeros
    assert made["3.up.weight"].notes == ("zeros as constructed",)
    assert made["3.down.weight"].filling == SMALL


def test_zeros_of_an_unknown_class_may_be_fresh_memory():
    model = nn.Sequential(nn.Linear(8, 8))
    model.table = nn.Parameter(torch.zeros(4, 8))
    with pytest.warns(UserWarning, match="table: all weights are zeros") as caught:
        made = plan(model, SMALL)
    assert caught[0].filename == __file__
    assert made["table"].filling == SMALL
    assert made["table"].notes == ("zeros as constructed (may be fresh memory)",)


def test_zeros_in_a_model_of_unknown_classes_are_noted():
    model = nn.Module()
    model.means = nn.Parameter(torch.zeros(4, 1, 8))
    with pytest.warns(UserWarning, match="means: all weights are zeros"):
        assert plan(model, SMALL)["means"].notes == ("zeros as constructed (may be fresh memory)",)


def test_a_bias_that_no_constructor_draws_needs_a_rule():
    lstm = nn.LSTM(4, 8)
    with torch.no_grad():
        lstm.bias_hh_l0[8:16] = 1.0  # forget gates
    with pytest.raises(PlanError, match=r'bias_hh_l0: .* \{"bias_hh_l0": keep\}'):
        plan(lstm, SMALL)
    made = plan(lstm, {"bias_hh_l0": keep}, default=SMALL)
    assert made["bias_ih_l0"].filling == zeros
    assert made["bias_ih_l0"].notes == ("replaces the constructor's draw",)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(5, 300),
        nn.Bilinear(3, 4, 300),
        nn.Conv2d(4, 300, 3, groups=2),
        nn.ConvTranspose1d(300, 4, 3, groups=2),
        nn.GRU(3, 40),
        nn.LSTMCell(3, 40),
        nn.RNN(3, 40, 2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_biases_of_pytorch_layers_are_in_the_range_of_their_constructor(layer):
    made = plan(layer.bfloat16(), SMALL)
    biases = [entry for entry in made.entries if entry.parameter.kind == "bias"]
    assert biases
    assert all(entry.filling == zeros for entry in biases)


def test_a_matrix_that_was_not_drawn_needs_a_rule():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    nn.init.eye_(model[0].weight)
    with pytest.raises(PlanError, match=r'0.weight: .* \{"0.weight": keep\}'):
        plan(model, SMALL)


def test_a_column_of_one_value_was_not_drawn():
    model = nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 8))
    with torch.no_grad():
        model[0].weight[:, 2] = -1.0
    with pytest.raises(PlanError, match=r'0.weight: .* \{"0.weight": keep\}'):
        plan(model, SMALL)


def test_later_calls_read_the_record_not_memory():
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))
    other = copy.deepcopy(model)
    initialize(model, {"*": zeros}, seed=0)
    made = initialize(model, he_normal, seed=0)
    assert made == initialize(other, he_normal, seed=0)
    assert torch.equal(model[0].weight, other[0].weight)
    assert torch.equal(model[1].weight, torch.ones(8))


def test_the_record_survives_copies_and_files(tmp_path):
    model = nn.Sequential(nn.Linear(8, 8), Scaled())
    made = initialize(model, SMALL, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand_like(parameter))
    torch.save(model, tmp_path / "model.pt")
    for again in (copy.deepcopy(model), torch.load(tmp_path / "model.pt", weights_only=False)):
        assert plan(again, SMALL) == made


def test_unselected_tensors_are_not_recorded():
    model = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))
    with torch.no_grad():
        model[1].weight.mul_(torch.rand(8))  # as a checkpoint has it
    initialize(model, SMALL, seed=0, only="0.*")
    nn.init.ones_(model[1].weight)
    assert plan(model, SMALL)["1.weight"].filling == ones


def test_parts_are_judged_by_their_slices():
    model = nn.Module()
    model.qkv = nn.Linear(8, 24)
    with torch.no_grad():
        model.qkv.weight[8:16] = 0
        model.qkv.bias[8:16] = 3.0
        model.qkv.bias[:8] = -2.0
        model.qkv.bias[16:] = 0.0
    split = {"qkv.weight": parts({f"{name}.weight": 1 for name in "qkv"})}
    split |= {"qkv.bias": parts({f"{name}.bias": 1 for name in "qkv"})}
    made = plan(model, split, default=SMALL)
    assert [piece.initializer for piece in made["qkv.weight"].pieces] == [SMALL, zeros, SMALL]
    assert [piece.initializer for piece in made["qkv.bias"].pieces] == [constant(-2.0), constant(3.0), zeros]


def weight_normed():
    yield parametrizations.weight_norm(nn.Linear(8, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield nn.utils.weight_norm(nn.Linear(8, 4))


@pytest.mark.parametrize("change", ["ones", "frozen"])
def test_magnitudes_that_were_set_need_a_rule(change):
    for layer in weight_normed():
        magnitude = layer.parametrizations.weight.original0 if hasattr(layer, "parametrizations") else layer.weight_g
        if change == "ones":
            nn.init.ones_(magnitude)
        else:
            magnitude.requires_grad_(False)
        model = nn.Sequential(layer, nn.Linear(4, 4))
        with pytest.raises(PlanError, match=r"0.weight: .*magnitudes of the weight norm"):
            plan(model, SMALL)
        initialize(model, {"0.weight": SMALL}, seed=0, default=SMALL)


def test_tensors_that_cannot_be_filled_are_kept_by_a_rule_or_named():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # both are in beta
        model.sparse = nn.Parameter(torch.eye(4).to_sparse_csr())
        model.nested = nn.Parameter(torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]))
    with pytest.raises(PlanError, match=r"sparse: .*layout torch.sparse_csr cannot be filled") as raised:
        plan(model, SMALL)
    assert "nested: no rule matches, and a tensor of layout torch.nested cannot be filled" in str(raised.value)
    made = initialize(model, {"sparse": keep, "nested": keep}, seed=0, default=SMALL)
    assert made["0.weight"].filling == SMALL
    assert len(initialize(model, SMALL, seed=0, only="0.*").draw(0)) == 2
    with pytest.raises(PlanError, match="sparse: tensor must be dense"):
        initialize(model, {"sparse": ones, "nested": keep}, seed=0, default=SMALL)


class Quantized(torch.Tensor):
    """A tensor that has the dtype float32, holds bytes, and refuses to be written."""

    @staticmethod
    def __new__(cls, data):
        return torch.Tensor._make_wrapper_subclass(cls, data.shape, dtype=torch.float32)

    def __init__(self, data):
        self.data8 = data

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.detach.default:
            return Quantized(args[0].data8)
        raise NotImplementedError(f"{func} is not for quantized tensors")


def test_fills_that_can_fail_are_tried_before_anything_is_written():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = nn.Parameter(Quantized(torch.ones(4, 4, dtype=torch.int8)))
    before = model[0].weight.clone()
    with pytest.raises(PlanError, match=r"1.weight: tensor must be of a class that can be filled, got a Quantized"):
        initialize(model, SMALL, seed=0)
    assert torch.equal(model[0].weight, before)
    initialize(model, {"1.weight": keep}, seed=0, default=SMALL)
    assert not torch.equal(model[0].weight, before)


def test_unmatched_parameters_can_be_kept():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    before = copy.deepcopy(model.state_dict())
    initialize(model, {"1.weight": SMALL}, seed=0, unmatched="keep")
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert changed == ["1.weight"]

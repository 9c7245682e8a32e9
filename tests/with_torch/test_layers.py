"""Modules: the axes, kinds and usual starts of every parameter of `torch.nn`, and of modules that state them."""

import inspect
import math
import re

import pytest
import torch
from torch import nn

from initlib import constant, fans, ones, zeros
from initlib.adapters.torch.models.layers import declare, own_class, roles

BIAS = (None, "bias", zeros)
LSTM = {"weight_ih": ("(4 O)I", "kernel", None), "weight_hh": ("(4 O)I", "recurrent", None)}
GRU = {"weight_ih": ("(3 O)I", "kernel", None), "weight_hh": ("(3 O)I", "recurrent", None)}
RNN = {"weight_ih": ("OI", "kernel", None), "weight_hh": ("OI", "recurrent", None)}
GATE_BIASES = {"bias_ih": BIAS, "bias_hh": BIAS}
NORM = {"weight": (None, "scale", ones), "bias": BIAS}


def kernel(axes, **more):
    return {"weight": (axes, "kernel", None), "bias": BIAS, **more}


def layers(cell, suffixes):
    return {f"{name}{suffix}": meaning for suffix in suffixes for name, meaning in cell.items()}


RECORDS = [
    (nn.Linear(4, 3), kernel("OI")),
    (nn.modules.linear.NonDynamicallyQuantizableLinear(4, 3), kernel("OI")),
    (nn.Bilinear(4, 5, 3), kernel("OII")),
    (nn.Conv1d(4, 6, 3), kernel("OIW")),
    (nn.Conv2d(4, 6, 3, groups=2), kernel("(2 O)IHW")),
    (nn.Conv2d(4, 8, 3, groups=4), kernel("(4 O)IHW")),
    (nn.Conv3d(4, 6, 3), kernel("OIDHW")),
    (nn.ConvTranspose1d(4, 6, 3, groups=2), kernel("(2 I)OW")),
    (nn.ConvTranspose2d(4, 6, 3), kernel("IOHW")),
    (nn.ConvTranspose3d(4, 6, 3, groups=2), kernel("(2 I)ODHW")),
    (nn.Embedding(7, 4), {"weight": ("IO", "table", None)}),
    (nn.EmbeddingBag(7, 4), {"weight": ("IO", "table", None)}),
    (nn.RNN(4, 5, num_layers=2), layers({**RNN, **GATE_BIASES}, ["_l0", "_l1"])),
    (nn.GRU(4, 5, bidirectional=True), layers({**GRU, **GATE_BIASES}, ["_l0", "_l0_reverse"])),
    (nn.LSTM(4, 6, proj_size=2), layers({**LSTM, **GATE_BIASES, "weight_hr": ("OI", "kernel", None)}, ["_l0"])),
    (nn.RNNBase("LSTM", 4, 5), layers({**LSTM, **GATE_BIASES}, ["_l0"])),
    (nn.RNNCell(4, 5), {**RNN, **GATE_BIASES}),
    (nn.GRUCell(4, 5), {**GRU, **GATE_BIASES}),
    (nn.LSTMCell(4, 5), {**LSTM, **GATE_BIASES}),
    (nn.RNNCellBase(4, 5, True, num_chunks=1), {**RNN, **GATE_BIASES}),
    (
        nn.MultiheadAttention(4, 2, add_bias_kv=True),
        {
            "in_proj_weight": ("(3 O)I", "kernel", None),
            "in_proj_bias": BIAS,
            "bias_k": ("BIO", "table", None),
            "bias_v": ("BIO", "table", None),
        },
    ),
    (
        nn.MultiheadAttention(4, 2, kdim=3, vdim=5),
        {"in_proj_bias": BIAS, **{f"{name}_proj_weight": ("OI", "kernel", None) for name in "qkv"}},
    ),
    (nn.BatchNorm1d(4), NORM),
    (nn.BatchNorm2d(4), NORM),
    (nn.BatchNorm3d(4), NORM),
    (nn.SyncBatchNorm(4), NORM),
    (nn.InstanceNorm1d(4, affine=True), NORM),
    (nn.InstanceNorm2d(4, affine=True), NORM),
    (nn.InstanceNorm3d(4, affine=True), NORM),
    (nn.GroupNorm(2, 4), NORM),
    (nn.LayerNorm((3, 4)), NORM),
    (nn.RMSNorm(4), {"weight": (None, "scale", ones)}),
    (nn.PReLU(4, init=0.125), {"weight": (None, "other", constant(0.125))}),
]


@pytest.mark.parametrize(("module", "expected"), RECORDS, ids=lambda value: type(value).__name__)
def test_every_parameter_has_known_axes_and_kind(module, expected):
    roles_of = roles(module)
    assert {
        name: tuple(roles_of[name]) for name in module._parameters if module._parameters[name] is not None
    } == expected


def test_every_class_of_torch_nn_with_parameters_is_tested_above():
    """The test fails if a new release of PyTorch adds a class."""
    kept = re.compile(r"Parameter\(|register_parameter\(")

    def has_parameters(cls):
        own = [base for base in cls.__mro__ if base not in (nn.Module, object) and "__init__" in vars(base)]
        return any(kept.search(inspect.getsource(base.__init__)) for base in own if base.__module__.startswith("torch"))

    there = {cls for cls in vars(nn).values() if inspect.isclass(cls) and issubclass(cls, nn.Module)}
    lazy = {cls for cls in there if issubclass(cls, nn.modules.lazy.LazyModuleMixin)}
    assert {cls for cls in there - lazy if has_parameters(cls)} == {
        type(module) for module, _ in RECORDS if getattr(nn, type(module).__name__, None) is type(module)
    }


def test_compound_modules_hold_only_tested_modules():
    compound = [
        nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
        nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10], div_value=2.0),
        nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
    ]
    for part in (part for model in compound for part in model.modules()):
        assert set(part._parameters) <= set(roles(part)) | {"in_proj_weight"}


@pytest.mark.parametrize(
    "module",
    [module for module, _ in RECORDS if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd))],
    ids=lambda module: f"{type(module).__name__}-{getattr(module, 'groups', 1)}",
)
def test_fans_are_what_an_output_sums_and_an_input_reaches(module):
    """With weights and inputs of 1, an inner output is the fan_in, and the gradient of an input the fan_out."""
    with torch.no_grad():
        module.weight.fill_(1)
        module.bias.zero_()
    field = getattr(module, "kernel_size", ())
    channels = getattr(module, "in_channels", None) or module.in_features
    x = torch.ones(1, channels, *(9 for _ in field), requires_grad=True)
    y = module(x)
    y.sum().backward()
    middle = (0, 0, *(size // 2 for size in y.shape[2:]))
    reach = (0, 0, *(4 for _ in field))
    assert (y[middle].item(), x.grad[reach].item()) == fans(tuple(module.weight.shape), roles(module)["weight"].axes)


def test_a_bilinear_layer_has_the_fans_of_its_products():
    assert fans((3, 4, 5), roles(nn.Bilinear(4, 5, 3))["weight"].axes) == (20, 3)


def test_gates_are_packed_outermost():
    """The rows of a gate follow one another, and their matrix decides that gate alone."""
    cell, x, h = nn.LSTMCell(3, 2, bias=False), torch.ones(1, 3), torch.zeros(1, 2)
    with torch.no_grad():
        for weight in cell.parameters():
            weight.zero_()
        cell.weight_ih[2:4].fill_(math.inf)  # the forget gate: it keeps all of the 8s
    assert torch.equal(cell(x, (h, torch.full((1, 2), 8.0)))[1], torch.full((1, 2), 8.0))


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Parameter(torch.zeros(2, 8, 4))
        self.other = nn.Parameter(torch.zeros(2, 8))


class StatesItsAxes(Mixed):
    initlib_axes = {"up": "BIO"}  # noqa: RUF012


class Conv1D(nn.Module):
    """Conv1D of transformers."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 4))
        self.bias = nn.Parameter(torch.zeros(4))


class GatedRMSNorm(nn.Module):
    pass


def test_classes_of_other_libraries_are_known_by_name():
    assert roles(Conv1D())["weight"] == ("IO", "kernel", None)
    assert roles(GatedRMSNorm())["weight"] == (None, "scale", None)
    assert roles(type("LayerNorm2d", (nn.Module,), {})())["gamma"].kind == "scale"
    assert roles(type("Normalizer", (nn.Module,), {})()) == {}


def test_a_module_may_state_its_axes():
    assert roles(Mixed()) == {}
    assert roles(StatesItsAxes())["up"] == ("BIO", "kernel", None)
    module = Mixed()
    module.initlib_axes = {"up": "(2 B)OI"}
    assert roles(module)["up"] == ("(2 B)OI", "kernel", None)


def test_declared_axes_apply():
    class Expert(Mixed):
        pass

    class Wide(Expert):
        pass

    class Table(nn.Embedding):
        pass

    assert declare(Expert, up="B(2 O)I") is Expert
    declare(Wide, other="W...")
    declare(Table, weight="OI")
    assert roles(Wide()) == {"up": ("B(2 O)I", "kernel", None), "other": ("W...", "other", None)}
    assert roles(Table(3, 4))["weight"] == ("OI", "table", None)
    assert roles(Mixed()) == {}


def test_wrong_declarations_are_errors():
    with pytest.raises(TypeError, match=r"class of torch.nn.Module, got 3"):
        declare(3)
    with pytest.raises(ValueError, match=r"Mixed.up: axes must consist of .* got 'o' in 'oi'"):
        declare(Mixed, up="oi")
    with pytest.raises(TypeError, match=r"Mixed.up: axes must be a string"):
        declare(Mixed, up=3)

    class Misspelt(Mixed):
        initlib_axes = {"upp": "BIO"}  # noqa: RUF012

    wrong = r"parameters of Misspelt \(up, other\), got 'upp'. Correct the attribute initlib_axes of Misspelt"
    with pytest.raises(ValueError, match=wrong):
        roles(Misspelt())


def test_a_corrected_declaration_replaces_a_name_that_the_class_lacks():
    class Expert(Mixed):
        pass

    class Wide(Expert):
        pass

    declare(Expert, up="BIO", othr="OI")
    wrong = r"parameters of Wide \(up, other\), got 'othr'. Correct the call declare\(Expert, othr='OI'\)"
    with pytest.raises(ValueError, match=wrong):
        roles(Wide())
    declare(Expert, other="OI")
    assert roles(Wide()) == {"up": ("BIO", "kernel", None), "other": ("OI", "kernel", None)}


def test_own_class_ignores_classes_of_wrappers():
    class FSDPLike(nn.Linear):
        pass

    parametrized = nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))
    sharded = type("FSDPLinear", (type("FSDPModule", (), {}), nn.Linear), {})
    assert own_class(parametrized) is nn.Linear
    assert own_class(sharded(3, 4)) is nn.Linear
    assert own_class(FSDPLike(3, 4)) is FSDPLike

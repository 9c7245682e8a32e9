"""Signals of PyTorch's models: measurements, their order, and an unchanged model."""

import math
import random
import re
from functools import partial

import numpy as np
import pytest
import torch
from reference_network import BATCH, BIASES, TARGET, WEIGHTS, compare
from torch import nn
from torch.nn import functional as F  # noqa: N812

import initlib
import initlib.adapters.torch as init
from initlib import propagation


def network(initializer, depth, width, seed=0):
    """Return a network of relu layers, drawn by names."""
    layers = []
    for k in range(depth):
        linear = nn.Linear(width, width)
        init.fill_(linear.weight, initializer, seed=seed, name=f"layer{k}")
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers)


class Everything(nn.Module):
    """Functions, modules that change their input, a shared module, a repeated module, and a branch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.act = nn.ReLU(inplace=True)
        self.again = self.act
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(8, 4)
        self.fail = False

    def forward(self, x):
        x = self.act(self.bn(self.conv(x)))
        x = x + F.gelu(x)
        x = self.again(x)
        x = self.drop(x).mean((2, 3)).tanh()
        np.random.rand(), random.random()
        if self.fail:
            raise RuntimeError("on purpose")
        return {"logits": F.softmax(self.head(x), -1), "other": x.relu()}


def test_activations_are_in_the_order_of_execution_with_their_names():
    report = init.signals(Everything(), (4, 3, 8, 8))
    assert [(row.name, row.owner) for row in report.activations] == [
        ("conv", "Conv2d"),
        ("bn", "BatchNorm2d"),
        ("act", "ReLU"),
        ("gelu()", "gelu"),
        ("act#2", "ReLU"),
        ("drop", "Dropout"),
        ("tanh()", "tanh"),
        ("head", "Linear"),
        ("softmax()", "softmax"),
        ("relu()", "relu"),
    ]
    assert [row.name for row in report.parameters] == [
        *("conv.weight", "conv.bias", "bn.weight", "bn.bias", "head.weight", "head.bias")
    ]
    assert [row.width for row in report.activations[:6]] == 6 * [8]
    assert report.activations[0].shape == (4, 8, 8, 8)


def test_a_block_that_returns_the_output_of_its_last_layer_adds_no_row():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), nn.Linear(4, 2))
    assert [row.name for row in init.signals(model, (8, 4)).activations] == ["0.0", "0.1", "1"]

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return x + torch.relu_(self.fc(x))

    rows = init.signals(nn.Sequential(Residual(), Residual()), (8, 4)).activations
    assert [row.name for row in rows] == ["0.fc", "0.relu()", "0", "1.fc", "1.relu()", "1"]


def test_every_measurement_is_in_the_report():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 3))
    x = torch.randn(7, 6)
    target = torch.randn(7, 3)
    report = init.signals(model, x, lambda y: F.mse_loss(y, target), learning_rate=0.1)
    pre = model[0](x)
    pre.retain_grad()
    hidden = pre.relu()
    hidden.retain_grad()
    out = model[2](hidden)
    loss = F.mse_loss(out, target)
    loss.backward()
    linear, relu, _ = report.activations
    assert report.loss == pytest.approx(loss.item())
    for row, tensor in ((linear, pre), (relu, hidden)):
        value, gradient = tensor.detach().double(), tensor.grad.double()
        assert row.mean == pytest.approx(value.mean().item())
        assert row.std == pytest.approx(value.std(correction=0).item())
        assert row.mean_square == pytest.approx(value.square().mean().item())
        assert row.channel_mean_square == pytest.approx(value.mean(0).square().mean().item())
        assert row.channel_variance == pytest.approx(value.var(0, correction=0).mean().item())
        assert row.gradient_std == pytest.approx(gradient.std(correction=0).item(), rel=1e-5)
        assert row.gradient_norm == pytest.approx(gradient.norm().item(), rel=1e-5)
    assert relu.dead == (hidden == 0).all(0).double().mean().item()
    weight = model[0].weight
    row = report.parameters[0]
    assert row.gradient_ratio == pytest.approx((weight.grad.std() / weight.std()).item(), rel=1e-5)
    assert row.update_ratio == pytest.approx(0.1 * row.gradient_ratio)
    assert row.top_singular_value == pytest.approx(torch.linalg.matrix_norm(weight, 2).item(), rel=1e-5)


def test_the_report_has_the_numbers_of_the_reference():
    layers = [nn.Linear(*weight.shape) for weight in WEIGHTS]
    with torch.no_grad():
        for layer, weight, bias in zip(layers, WEIGHTS, BIASES, strict=True):
            layer.weight.copy_(torch.from_numpy(weight.T.copy()))
            layer.bias.copy_(torch.from_numpy(bias))
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.Tanh(), layers[2])
    target = torch.from_numpy(TARGET)
    batch = torch.from_numpy(BATCH.copy())
    compare(init.signals(model, batch, lambda y: F.mse_loss(y, target), learning_rate=0.1), True)
    compare(init.signals(model, (16, 20), learning_rate=0.1), False)


def test_singular_values_of_convolutions_are_those_of_their_matrices():
    for conv, axis in ((nn.Conv2d(4, 6, 3), 0), (nn.ConvTranspose2d(4, 6, 3), 1)):
        matrix = conv.weight.detach().movedim(axis, 0).flatten(1)
        row = init.signals(conv, (2, 4, 5, 5)).parameters[0]
        assert row.top_singular_value == pytest.approx(torch.linalg.matrix_norm(matrix, 2).item(), rel=1e-5)


def test_singular_values_of_stacks_are_the_largest_of_their_matrices():
    """Packed and grouped kernels have the largest singular value of their matrices."""
    attention = nn.MultiheadAttention(8, 2)
    row = init.signals(attention, (torch.randn(5, 3, 8),) * 3).parameters[0]
    parts = attention.in_proj_weight.detach().unflatten(0, (3, 8))
    assert row.top_singular_value == pytest.approx(torch.linalg.matrix_norm(parts, 2).max().item(), rel=1e-5)


@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_unchanged(fail, training):
    model = Everything().train(training)
    model.head.eval()
    model.fail = fail
    model.conv.bias.requires_grad_(False)
    model(torch.randn(2, 3, 8, 8))["logits"].sum().backward() if not fail else None
    calls = []
    handle = model.conv.register_forward_hook(lambda *args: calls.append(1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    identities = {name: id(value) for name, value in model.named_buffers()}
    gradients = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    modes = [module.training for module in model.modules()]
    batch = torch.randn(4, 3, 8, 8, requires_grad=True)
    kept = batch.detach().clone()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = torch.rand(3), np.random.rand(), random.random()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    if fail:
        with pytest.raises(RuntimeError, match="on purpose"):
            init.signals(model, batch)
    else:
        init.signals(model, batch)
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(), random.random()) == expected[1:]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {name: id(value) for name, value in model.named_buffers()} == identities
    for name, p in model.named_parameters():
        assert p.requires_grad == (name != "conv.bias")
        assert (p.grad is None) == (gradients[name] is None)
        assert p.grad is None or torch.equal(p.grad, gradients[name])
    assert [module.training for module in model.modules()] == modes
    assert batch.grad is None
    assert torch.equal(batch, kept)
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert sum(hooks) == 1
    assert len(calls) > 0
    handle.remove()
    assert not torch.overrides._get_current_function_mode_stack()


def test_inputs_of_every_kind_are_accepted():
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2))
    ids = torch.arange(6).reshape(2, 3)
    report = init.signals(model, ids)
    assert [row.shape for row in report.activations] == [(2, 3, 4), (2, 3, 2)]
    assert report.input_std is None
    bilinear = nn.Bilinear(3, 4, 2)
    x, y = torch.randn(5, 3), torch.randn(5, 4)
    by_position = init.signals(bilinear, (x, y))
    by_name = init.signals(bilinear, {"input1": x, "input2": y})
    assert by_position.activations == by_name.activations
    assert by_position.input_std == pytest.approx(x.std(correction=0).item())
    shaped = init.signals(nn.Linear(3, 2), (4, 3))
    noise = initlib.normal()((4, 3), seed=0, name="batch")
    assert shaped.input_std == pytest.approx(float(noise.std()), rel=1e-6)
    lstm = init.signals(nn.LSTM(3, 4), (5, 2, 3))
    assert [row.shape for row in lstm.activations] == [(5, 2, 4)]


def test_a_model_may_change_its_input():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 2))
    x = torch.randn(8, 4)
    kept = x.clone()
    assert [row.name for row in init.signals(model, x).activations] == ["0", "1"]
    assert torch.equal(x, kept)


def test_gradients_pass_through_frozen_layers():
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)).requires_grad_(False)
    with torch.no_grad():
        report = init.signals(model, (8, 4))
    assert all(row.gradient_std > 0 for row in report.activations)
    assert [row.verdict for row in report.parameters] == 4 * ["silent"]


def test_a_module_that_computes_a_weight_is_no_layer():
    model = nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))
    assert [row.name for row in init.signals(model, (8, 4)).activations] == ["model"]


class DataParallelLike(nn.Module):
    def __init__(self, module):
        super().__init__()
        self._orig_mod = module

    def forward(self, x):
        return self._orig_mod(x)


def test_names_are_those_of_plans():
    inner = nn.Sequential(
        nn.Linear(4, 6), nn.Sequential(nn.Tanh(), nn.utils.parametrizations.weight_norm(nn.Linear(6, 2)))
    )
    wrapped = nn.Sequential(DataParallelLike(inner), nn.Linear(2, 2))
    report = init.signals(wrapped, (8, 4))
    assert [row.name for row in report.activations] == ["0.0", "0.1.0", "0.1.1", "1"]
    names = [entry.parameter.name for entry in init.plan(wrapped, initlib.normal()).entries]
    assert [row.name for row in report.parameters] == names
    assert [tensor.name for tensor in init.audit(wrapped).tensors] == names


def test_half_precision_is_measured():
    report = init.signals(nn.Linear(64, 64).bfloat16(), (8, 64))
    assert 0.1 < report.activations[0].std < 2


def test_zero_branches_and_zero_heads_are_silent():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    nn.init.zeros_(model[2].weight), nn.init.zeros_(model[2].bias)
    target = torch.randn(32, 4)
    for loss in (None, lambda y: F.mse_loss(y, target)):
        report = init.signals(model, (32, 8), loss)
        assert report.healthy
        assert report.activations[-1].verdict == "silent"
    dead = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    nn.init.constant_(dead[0].bias, -100)
    assert [row.verdict for row in init.signals(dead, (32, 8)).activations][1:] == ["dead", "dead"]


def test_wrong_arguments_are_errors():
    with pytest.raises(ValueError, match=r"LazyLinear is lazy, and its parameters have no shape yet. Run a batch"):
        init.signals(nn.LazyLinear(3), (2, 3))
    with pytest.raises(ValueError, match=r"loss must return one number, got shape \(4, 2\)"):
        init.signals(nn.Linear(3, 2), (4, 3), lambda y: y)
    with pytest.raises(ValueError, match="batch must hold inputs that differ, got the same input 4 times"):
        init.signals(nn.Linear(3, 2), torch.ones(4, 3))
    with pytest.raises(ValueError, match="learning_rate must be above 0"):
        init.signals(nn.Linear(3, 2), (4, 3), learning_rate=0)
    with pytest.raises(ValueError, match="the output must hold floats, got"):
        init.signals(nn.Flatten(), torch.arange(4).reshape(2, 2))
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got tuple"):
        init.signals((4, 3), nn.Linear(3, 2))


LOSSES = [
    (torch.zeros(4, 2), "loss must be a function of the model's output, got a Tensor"),
    (nn.CrossEntropyLoss, "loss must be a function of the model's output, got the class CrossEntropyLoss"),
    (nn.CrossEntropyLoss(), "loss must take the model's output alone, got CrossEntropyLoss(input"),
    (nn.functional.mse_loss, "loss must take the model's output alone, got mse_loss(input"),
]


@pytest.mark.parametrize(("loss", "message"), LOSSES, ids=[message for _, message in LOSSES])
def test_a_loss_that_needs_targets_is_an_error_that_shows_how_to_pass_them(loss, message):
    with pytest.raises(TypeError, match=re.escape(message)) as raised:
        init.signals(nn.Linear(3, 2), torch.randn(4, 3), loss)
    assert "Pass targets by loss=lambda output: criterion(output, targets), and all" in str(raised.value)


@pytest.mark.parametrize(
    "loss", [lambda y: y.mean().detach(), lambda y: torch.tensor(1.0), lambda y: torch.ones((), requires_grad=True)]
)
def test_a_loss_without_a_gradient_is_an_error(loss):
    message = "loss must depend on the output of the model, got a loss without a gradient. Do not detach the output"
    with pytest.raises(ValueError, match=re.escape(message)):
        init.signals(nn.Linear(3, 2), (4, 3), loss)


def test_a_loss_that_ignores_the_values_of_the_output_is_not_healthy():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
    report = init.signals(model, (16, 8), lambda y: (0 * y).mean())
    assert not report.healthy
    assert {row.verdict for row in report.parameters} == {"dead"}


LOST = [(lambda y: y.mean().item(), "float"), (lambda y: y.mean().detach().numpy()[()], "float32")]


@pytest.mark.parametrize(("loss", "kind"), LOST, ids=["float", "float32"])
def test_a_loss_that_returns_no_tensor_is_an_error(loss, kind):
    message = rf"loss must return a tensor of one number, got a {kind}\. Do not call item\(\)"
    with pytest.raises(ValueError, match=message):
        init.signals(nn.Linear(3, 2), (4, 3), loss)


def test_a_loss_of_the_output_alone_may_be_any_callable():
    class Size(nn.Module):
        def forward(self, output):
            return output.square().sum()

    target = torch.zeros(4, 2)
    for loss in (
        torch.mean,
        Size(),
        partial(nn.functional.mse_loss, target=target),
        lambda y, scale=2: scale * y.sum(),
    ):
        assert init.signals(nn.Linear(3, 2), (4, 3), loss).loss is not None


def test_an_iterable_of_batches_is_an_error_that_shows_how_to_take_one():
    loader = torch.utils.data.DataLoader(torch.randn(8, 3), batch_size=4)
    for batch, kind in ((loader, "DataLoader"), (iter(loader), "_SingleProcessDataLoaderIter")):
        message = rf"batch must be the inputs of one call, got a {kind}\. Pass the inputs in next\(iter\(batch\)\)"
        with pytest.raises(TypeError, match=message):
            init.signals(nn.Linear(3, 2), batch)
        with pytest.raises(TypeError, match=message):
            init.lsuv_(nn.Linear(3, 2), batch)


def test_he_keeps_what_glorot_shrinks_by_the_predicted_factor():
    """In thirty relu layers, the std over seeds agrees with the predicted std to 5%."""
    depth, width, seeds = 30, 384, 6
    rows = {"he": [], "glorot": []}
    for seed in range(seeds):
        for name, scheme in (("he", initlib.he_normal), ("glorot", initlib.glorot_normal)):
            model = network(scheme, depth, width, seed).requires_grad_(False)
            x = torch.from_numpy(initlib.normal()((16, width), seed=seed))
            report = init.signals(model, x)
            assert report.healthy == (name == "he")
            rows[name].append([row.std for row in report.activations if row.owner == "Linear"])
    measured = {name: np.sqrt((np.array(stds) ** 2).mean(axis=0)) for name, stds in rows.items()}
    assert (np.abs(np.log2(measured["he"] / measured["he"][0])) < 1).all()
    predicted = np.sqrt(propagation.lengths("relu", depth, weight_variance=1.0))
    per_layer = (measured["glorot"][-1] / measured["glorot"][0]) ** (1 / (depth - 1))
    assert per_layer == pytest.approx((predicted[-1] / predicted[0]) ** (1 / (depth - 1)), rel=0.05)
    # He's weights are Glorot's times the root of 2, and relu keeps factors: the chance of the draws cancels.
    shrinks = (measured["glorot"] / measured["he"]) / (measured["glorot"][0] / measured["he"][0])
    assert shrinks == pytest.approx(predicted, rel=0.05)


def test_verdicts_have_reasons_in_words():
    he = init.signals(network(initlib.he_normal, 30, 256), (64, 256))
    glorot = init.signals(network(initlib.glorot_normal, 30, 256), (64, 256))
    large = init.signals(network(initlib.normal(), 30, 256), (64, 256))
    zeros = init.signals(network(initlib.zeros, 30, 256), (64, 256))
    assert he.healthy
    assert glorot.activations[-1].reason.startswith("signal ")
    assert glorot.activations[-1].reason.endswith(" of the input's; healthy from 0.00999")
    assert {row.verdict for row in glorot.activations} == {"vanishing"}
    assert "relu over 29 layers needs 1.7 to 2.3" in glorot.summary()
    assert {row.verdict for row in large.activations[:-1]} == {"exploding"}
    assert {row.verdict for row in zeros.activations} == {"dead"}
    assert math.isclose(he.activations[0].std, 2**0.5, rel_tol=0.05)


@pytest.mark.parametrize("seed", range(8))
def test_deep_networks_with_he_weights_are_healthy(seed):
    """In narrower networks, chance makes signals vanish."""
    assert init.signals(network(initlib.he_normal, 40, 128, seed), (32, 128)).healthy


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_layer_without_outputs_is_named():
    model = nn.Sequential(nn.Linear(4, 0), nn.Linear(0, 2))
    with pytest.raises(ValueError, match=r"the output of 0 must not be empty, got shape \(8, 0\)"):
        init.signals(model, (8, 4))


def test_an_array_as_a_batch_is_an_error_that_shows_the_conversion():
    with pytest.raises(
        TypeError, match=r"batch must hold tensors, got a numpy\.ndarray\. Write torch\.from_numpy\(batch\)"
    ):
        init.signals(nn.Linear(8, 4), np.zeros((2, 8), "float32"))


def test_an_order_of_axes_that_is_not_allowed_is_an_error():
    with pytest.raises(ValueError, match=r"axes must be one of OI\.\.\., \.\.\.IO, got 'IO'"):
        init.audit(nn.Linear(8, 8), axes="IO")

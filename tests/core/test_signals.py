"""SignalReport: verdicts of made-up activations, the table, the picture."""

import json
import math

import numpy as np
import pytest

from initlib import SignalReport
from initlib.diagnostics.measurements import activation, input_std, parameter
from initlib.diagnostics.statistics import channels, moments, signal, top_singular_value


def layer(name, std, gradient=None, width=1000, owner="Linear"):
    noise = np.random.default_rng(0).normal(size=(16, width))
    return activation(name, owner, std * noise, gradient=None if gradient is None else gradient * noise)


def verdicts(rows, **more):
    return [row.verdict for row in SignalReport(rows, **more).activations]


def test_moments_and_channels_are_those_of_numpy(rng):
    x = rng.normal(size=(4, 3, 5))
    assert moments(x) == pytest.approx((x.mean(), x.std(), (x**2).mean()))
    statistics = channels(x, axis=1)
    means, variances = x.mean(axis=(0, 2)), x.var(axis=(0, 2))
    assert statistics == pytest.approx((3, 0, (means**2).mean(), variances.mean()))
    assert channels(np.array([[0.0, 2.0, 5.0], [0.0, 2.0, 6.0]])).dead == pytest.approx(2 / 3)
    assert channels(np.array([[0.0, 2.0]])).dead == 0.5  # of one observation
    assert channels(np.float64(3.0)).width == 1
    assert all(map(math.isnan, (*moments(np.empty(0)), channels(np.empty((0, 3))).dead)))


@pytest.mark.parametrize("shape", [(3, 2), (300, 270), (270, 700), (1, 5)])
def test_top_singular_value_is_that_of_numpy(shape, rng):
    a = rng.normal(size=shape) * 1e-200
    assert top_singular_value(a) == pytest.approx(np.linalg.norm(a * 1e200, 2) * 1e-200, rel=1e-7)
    ones = np.ones(shape)
    assert top_singular_value(ones) == pytest.approx(math.sqrt(ones.size), rel=1e-9)
    assert top_singular_value(np.zeros(shape)) == 0
    assert math.isnan(top_singular_value(np.full(shape, np.inf)))


def test_a_report_of_steady_signals_is_healthy():
    report = SignalReport([layer(str(k), 0.9**k, 1e-4 * 1.1**k) for k in range(12)], input_std=1.0)
    assert report.healthy
    assert report.ill == []
    assert report.assert_healthy() is None
    assert verdicts([]) == []


def test_signals_and_gradients_vanish_and_explode():
    assert verdicts([layer(str(k), 0.05**k) for k in range(5)]) == ["healthy", "healthy"] + 3 * ["vanishing"]
    assert verdicts([layer(str(k), 10.0**k) for k in range(5)]) == 3 * ["healthy"] + 2 * ["exploding"]
    backward = [layer(str(k), 1.0, 0.1 ** (4 - k)) for k in range(5)]
    assert verdicts(backward) == 2 * ["vanishing"] + 3 * ["healthy"]
    assert verdicts(backward[::-1]) == 2 * ["exploding"] + 3 * ["healthy"]
    assert verdicts([layer("a", math.inf), layer("b", math.nan)]) == ["exploding", "exploding"]
    report = SignalReport([layer(str(k), 0.05**k) for k in range(5)])
    assert " is 0.000125 of the input's; healthy from 0.00965" in report.activations[3].reason


def test_a_small_signal_on_a_branch_is_healthy():
    branch = [layer("stem", 1.0, 1e-3), layer("branch", 1e-6, 1e-3), layer("sum", 1.0, 1e-3)]
    assert verdicts(branch) == 3 * ["healthy"]
    gamma = [layer("stem", 1.0, 1e-3), layer("branch", 1.0, 1e-9), layer("sum", 1.0, 1e-3)]
    assert verdicts(gamma) == 3 * ["healthy"]
    assert verdicts([layer("hidden", 1.0), layer("head", 2e-3)]) == 2 * ["healthy"]
    assert verdicts([layer("hidden", 1.0), layer("head", 1e-6)]) == ["healthy", "vanishing"]


def test_signals_of_scaled_inputs_are_healthy():
    assert verdicts([layer(str(k), 100.0) for k in range(3)], input_std=128.0) == 3 * ["healthy"]
    assert verdicts([layer(str(k), 0.9) for k in range(3)], input_std=0.02) == 3 * ["healthy"]
    assert verdicts([layer(str(k), 0.9) for k in range(3)], input_std=1e-9) == 3 * ["healthy"]


def deep_tanh(std, bias, depth=40, width=128):
    """Return the report of tanh layers with a bias in the last layer, computed by NumPy."""
    rng = np.random.default_rng(0)
    x = inputs = rng.normal(size=(64, width))
    outputs, zs, weights = [], [], [rng.normal(size=(width, width)) * std for _ in range(depth)]
    for k, weight in enumerate(weights):
        zs.append(x @ weight + (bias * rng.normal(size=width) if k == depth - 1 else 0))
        x = np.tanh(zs[-1]) if k < depth - 1 else zs[-1]
        outputs.append(x)
    gradient, rows, parameters = x / x.size, [], []
    for k in reversed(range(depth)):
        below = outputs[k - 1] if k else inputs
        if k < depth - 1:
            rows.append(activation(f"{2 * k + 1}", "Tanh", outputs[k], gradient=gradient))
            gradient = gradient * (1 - outputs[k] ** 2)
        rows.append(activation(f"{2 * k}", "Linear", zs[k], gradient=gradient))
        parameters.append(parameter(f"{2 * k}.weight", weights[k].T, below.T @ gradient, axes="OI"))
        gradient = gradient @ weights[k].T
    return SignalReport(rows[::-1], parameters[::-1], input_std=1.0)


@pytest.mark.parametrize("bias", [0.0, 0.05])
def test_a_bias_in_the_last_layer_hides_no_vanishing_signal(bias):
    report = deep_tanh(0.05, bias)
    assert not report.healthy
    assert {row.verdict for row in report.activations[-20:]} == {"vanishing"}
    assert {row.verdict for row in report.parameters} == {"vanishing"}
    assert report.activations[-1].signal < 1e-8
    lines = report.summary().split("\n")
    assert lines[0] == "verdict: vanishing: 79 of 79 activations, 40 of 40 parameters"
    assert lines[1].startswith("first: 0: gradient ")
    assert lines[2].startswith("do: weight_variance of 0.weight is 0.316; tanh over 39 layers needs 0.9")
    assert lines[2].endswith(": orthogonal(1.0)")


def test_a_deep_network_with_the_gain_of_its_activation_is_healthy():
    assert deep_tanh(1.59 / 128**0.5, 0.05).healthy
    assert deep_tanh(3 / 128**0.5, 0.0).activations[0].verdict == "exploding"


def test_the_signal_is_the_std_over_the_batch(rng):
    x = rng.normal(size=(16, 5, 3))
    assert signal(x) == pytest.approx(np.sqrt(x.var(axis=0).mean()))
    assert signal(x + rng.normal(size=(5, 3))) == pytest.approx(signal(x))
    assert signal(x[:1], axis=1) == pytest.approx(np.sqrt(x[0].var(axis=1).mean()))
    assert signal(x[0, 0]) == pytest.approx(x[0, 0].std())
    assert math.isnan(signal(np.empty((0, 3))))
    constant = np.tile(rng.normal(size=64), (8, 1))
    assert signal(constant) < 1e-15


def test_a_head_is_silent_only_if_its_weights_are_zero(rng):
    bias = np.tile(rng.normal(size=10), (16, 1))
    rows = [layer("body", 1.0, 0.0), activation("head", "Linear", bias, gradient=np.ones((16, 10)))]
    gradient = np.ones((1000, 10))
    zero = parameter("head.weight", np.zeros((1000, 10)), gradient)
    assert verdicts(rows, parameters=[zero]) == ["silent", "silent"]
    small = parameter("head.weight", np.full((1000, 10), 1e-12), gradient)
    assert verdicts(rows, parameters=[small]) == ["vanishing", "dead"]
    assert verdicts(rows) == ["vanishing", "dead"]


def test_units_with_one_value_for_every_input_are_dead(rng):
    zeros = [activation(str(k), "ReLU", np.zeros((8, 64)), gradient=np.zeros((8, 64))) for k in range(3)]
    assert verdicts([layer("alive", 1.0), *zeros]) == ["healthy", "dead", "dead", "dead"]
    constant = activation("bias", "Linear", np.tile(rng.normal(size=64), (8, 1)))
    assert verdicts([layer("alive", 1.0), zeros[0], constant]) == ["healthy", "dead", "dead"]
    mostly = np.where(np.arange(100) < 90, 0.0, rng.normal(size=(8, 100)))
    report = SignalReport([activation("relu", "ReLU", mostly), layer("next", 1.0)])
    assert report.activations[0].verdict == "dead"
    assert report.activations[0].reason == "90% of 100 units are the same for every input"
    half = np.where(np.arange(100) < 50, 0.0, rng.normal(size=(8, 100)))
    assert verdicts([activation("relu", "ReLU", half), layer("next", 1.0)]) == 2 * ["healthy"]


def test_branches_and_heads_that_start_at_zero_are_silent(rng):
    zero = activation("bn3", "BatchNorm", np.zeros((8, 64)), gradient=rng.normal(size=(8, 64)))
    report = SignalReport([layer("a", 1.0, 1.0), zero, layer("sum", 1.0, 1.0)])
    assert [row.verdict for row in report.activations] == ["healthy", "silent", "healthy"]
    assert report.activations[1].reason.endswith("; the next layers are not")
    head = activation("head", "Linear", np.zeros((8, 10)), gradient=np.ones((8, 10)))
    report = SignalReport([layer("a", 1.0, 0.0), layer("b", 1.0, 0.0), head])
    assert [row.verdict for row in report.activations] == 3 * ["silent"]
    assert report.healthy
    underflow = [layer("a", 1.0, 0.0), layer("b", 1.0, 1e-30), layer("c", 1.0, 1e-15), layer("d", 1.0, 1.0)]
    assert verdicts(underflow) == 3 * ["vanishing"] + ["healthy"]


def test_softmax_has_no_verdict():
    softmax = [layer("p", 1e-6, owner="Softmax"), layer("q", 1e-6, owner="log_softmax")]
    assert verdicts([layer("a", 1.0), *softmax]) == 3 * ["healthy"]


def test_gradients_of_a_normalized_output_have_no_verdict():
    rows = [
        layer("a", 1.0, 1e-9),
        layer("b", 1.0, 1e-9),
        layer("c", 1.0, 1e-9),
        layer("ln", 1.0, 1.0, owner="LayerNorm"),
    ]
    assert verdicts(rows, mean_square_loss=True) == 4 * ["healthy"]
    assert verdicts(rows) == 3 * ["vanishing"] + ["healthy"]


def test_parameters_have_measurements_and_verdicts(rng):
    kernel, gradient = rng.normal(size=(64, 32)), rng.normal(size=(64, 32)) / 100
    row = parameter("kernel", kernel, gradient, learning_rate=0.5)
    assert row.gradient_ratio == pytest.approx(gradient.std() / kernel.std())
    assert row.update_ratio == pytest.approx(row.gradient_ratio / 2)
    assert row.top_singular_value == pytest.approx(np.linalg.norm(kernel, 2))
    assert parameter("conv", rng.normal(size=(8, 4, 3, 3)), axes="OIHW").top_singular_value > 0
    bias = parameter("bias", np.zeros(3), np.ones(3))
    assert (bias.gradient_ratio, bias.top_singular_value) == (None, None)
    rows = [
        row,
        bias,
        parameter("frozen", kernel),
        parameter("waits", kernel, 0 * kernel),
        parameter("inf", kernel * math.inf, gradient),
        parameter("nan", kernel, gradient * math.nan),
    ]
    parameters = SignalReport([layer("a", 1.0)], rows).parameters
    assert [p.verdict for p in parameters] == ["healthy", "healthy", "silent", "silent", "exploding", "exploding"]
    dead = [activation(str(k), "ReLU", np.zeros((8, 64))) for k in range(2)]
    assert SignalReport(dead, rows).parameters[3].verdict == "dead"


def test_parameters_are_dead_if_a_loss_has_no_gradient_for_any_of_them(rng):
    kernel = rng.normal(size=(8, 4))
    rows = [parameter("a", kernel, 0 * kernel), parameter("b", kernel, 0 * kernel), parameter("frozen", kernel)]
    report = SignalReport([layer("x", 1.0)], rows)
    assert [row.verdict for row in report.parameters] == ["dead", "dead", "silent"]
    assert report.summary().splitlines()[1].endswith("is 0: check that the loss depends on the output")
    assert SignalReport([layer("x", 1.0)], rows, mean_square_loss=True).healthy  # a head that starts at 0
    assert SignalReport([layer("x", 1.0)], [*rows, parameter("c", kernel, kernel)]).healthy
    assert SignalReport([layer("x", 1.0)], rows[2:]).healthy


def test_the_table_begins_with_the_verdict_and_folds_layers(rng):
    rows = [parameter("kernel", rng.normal(size=(64, 32)), rng.normal(size=(64, 32)))]
    report = SignalReport([layer(str(k), 0.05**k) for k in range(4)], rows, loss=2.5)
    lines = str(report).split("\n")
    assert lines[0] == "verdict: vanishing: 2 of 4 activations, 0 of 1 parameters"
    assert lines[1].startswith("first: 2: signal 0.00241 is 0.0025 of the input's")
    assert lines[4].split() == [
        "activation",
        "owner",
        "shape",
        "mean",
        "std",
        "signal",
        "dead",
        "gradient",
        "std",
        "verdict",
    ]
    assert [line.split()[0] for line in lines[5:7]] == ["{0..1}", "{2..3}"]
    assert "0.00249..0.000125" in lines[6]
    assert "vanishing: signal 0.00241 is 0.0025 of the input's" in lines[6]
    assert lines[8].startswith("parameter  shape  std")
    dicts = json.loads(json.dumps(report.to_dicts()))
    assert [row["kind"] for row in dicts] == 4 * ["activation"] + ["parameter"]
    assert dicts[0]["std"] == report.activations[0].std
    assert report.loss == 2.5
    with pytest.raises(
        AssertionError, match=r"2 activations or parameters are unhealthy:\n  2: vanishing: signal 0\.00241"
    ):
        report.assert_healthy()


def test_input_std_is_that_of_the_first_input_that_differs(rng):
    x = rng.normal(size=(8, 5))
    assert input_std([x, 2 * x]) == x.std()
    assert input_std([]) is None
    assert input_std([np.ones((8, 5)), x]) == x.std()  # a mask or a time beside the data
    with pytest.raises(ValueError, match="batch must hold inputs that differ, got the same input 8 times"):
        input_std([np.ones((8, 5))])


def test_pictures_show_stds_over_depth():
    pytest.importorskip("matplotlib")
    alive = SignalReport([layer(f"layer{k}", 0.5**k, 0.1) for k in range(5)])
    bad = SignalReport([layer(f"layer{k}", v, math.nan) for k, v in enumerate([1.0, 1e9, math.inf, math.nan, 0.0])])
    figure = alive.plot({"bad": bad}, label="half", predicted={"half": [0.5**k for k in range(5)]})
    forward, backward = figure.axes
    assert forward.get_yscale() == backward.get_yscale() == "log"
    assert forward.get_ylabel() == "std of the activations"
    assert backward.get_xlabel() == "layer, in the order of execution"
    assert [tick.get_text() for tick in backward.get_xticklabels()] == [f"layer{k}" for k in range(5)]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["half", "bad", "predicted, half"]
    assert forward.get_title(loc="right") == "at the lower edge: 0; at the upper edge: not finite"
    assert np.allclose(forward.lines[0].get_ydata(), [row.std for row in alive.activations])
    assert np.isfinite(forward.lines[1].get_ydata()).all()
    low, high = forward.get_ylim()
    assert all(low < y < high for line in forward.lines for y in line.get_ydata())
    SignalReport([layer("only", 0.0)]).plot().canvas.draw()
    with pytest.raises(ValueError, match="owner must be one of Linear, got 'Conv2d'"):
        alive.plot(owner="Conv2d")
    with pytest.raises(ValueError, match=r"predicted\['half'\] must have 5 stds, one for each activation, got 2"):
        alive.plot(predicted={"half": [1.0, 2.0]})


def test_a_picture_without_matplotlib_names_the_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        SignalReport([layer("only", 1.0)]).plot()

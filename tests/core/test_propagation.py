"""Propagation against closed forms, against simulated wide layers, and against the known facts of each phase."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initlib import gain
from initlib.theory.hermite import HermiteSeries
from initlib.theory.layer_maps import Correlations, Layer
from initlib.theory.phase_diagram import _rates
from initlib.theory.propagation import (
    chi,
    correlation_map,
    critical_line,
    depth_scale,
    describe,
    fixed_point,
    length_map,
    lengths,
    phase_diagram,
)

ERF = np.vectorize(math.erf, otypes=[float])
CORRELATIONS = np.concatenate([np.linspace(-1, 1, 81), 1 - np.logspace(-12, -2, 21)])


def relu_cubed(z):
    return np.maximum(z, 0) ** 3


def arc_cosine(c):
    """Return 2 E relu(x) relu(y), by Cho and Saul 2009."""
    angle = np.arccos(np.clip(c, -1, 1))
    return (np.sin(angle) + (np.pi - angle) * c) / np.pi


# The activation, and E f(x) f(y) for x, y of variance q and correlation c (relu: Cho, Saul 2009; erf: Williams 1998).
CLOSED_FORMS = {
    "linear": ("linear", lambda q, c: q * c),
    "relu": ("relu", lambda q, c: q / 2 * arc_cosine(c)),
    "erf": (ERF, lambda q, c: 2 / np.pi * np.arcsin(2 * q * c / (1 + 2 * q))),
    "abs": (np.abs, lambda q, c: q * (arc_cosine(c) + arc_cosine(-c))),
    "sin": ("sin", lambda q, c: np.exp(-q) * np.sinh(q * c)),
    "square": (np.square, lambda q, c: q**2 * (1 + 2 * c**2)),
    "sign": (np.sign, lambda q, c: 2 / np.pi * np.arcsin(c)),
}


@pytest.mark.parametrize("length", [0.05, 1.0, 30.0])
@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_maps_follow_closed_forms(name, length):
    activation, kernel = CLOSED_FORMS[name]
    variances = {"weight_variance": 1.7, "bias_variance": 0.3}
    expected = 1.7 * kernel(length, CORRELATIONS) + 0.3
    assert length_map(activation, length, **variances) == pytest.approx(1.7 * kernel(length, 1.0) + 0.3, rel=1e-9)
    mapped = correlation_map(activation, CORRELATIONS, length=length, **variances)
    assert np.abs(mapped - expected / (1.7 * kernel(length, 1.0) + 0.3)).max() < (2e-6 if name == "sign" else 1e-6)
    assert correlation_map(activation, 0.25, length=length, **variances) == pytest.approx(
        float(1.7 * kernel(length, 0.25) + 0.3) / (1.7 * kernel(length, 1.0) + 0.3), abs=1e-6
    )


@pytest.mark.parametrize("length", [0.05, 1.0, 30.0])
def test_chi_follows_closed_forms(length):
    given_length = {"weight_variance": 1.7, "bias_variance": 0.3, "length": length}
    assert chi("linear", **given_length) == pytest.approx(1.7, rel=1e-9)
    assert chi("relu", **given_length) == pytest.approx(0.85, rel=1e-9)
    assert chi("leaky_relu", slope=0.2, **given_length) == pytest.approx(1.7 * 0.52, rel=1e-9)
    assert chi(ERF, **given_length) == pytest.approx(1.7 * 4 / np.pi / math.sqrt(1 + 4 * length), rel=1e-9)


def test_fixed_points_follow_closed_forms():
    assert fixed_point("relu", weight_variance=1.5, bias_variance=0.3) == pytest.approx(0.3 / 0.25, rel=1e-9)
    assert fixed_point("linear", weight_variance=0.999, bias_variance=1.0) == pytest.approx(1000, rel=1e-8)
    assert fixed_point("relu", weight_variance=2.0, bias_variance=0.1) == math.inf
    assert fixed_point("linear", weight_variance=0.5) == fixed_point("tanh", weight_variance=1.0) == 0
    assert fixed_point("linear", weight_variance=0.5, bias_variance=1e-12) == pytest.approx(2e-12, rel=1e-6)
    assert fixed_point("tanh", weight_variance=0.0, bias_variance=0.2) == pytest.approx(0.2, rel=1e-9)
    assert fixed_point("sin", weight_variance=2.0) == pytest.approx(0.7968121300200202, rel=1e-9)  # q = 1 - exp(-2q)
    # relu cubed keeps (15/2)**-0.5, and no length beside it.
    assert fixed_point(relu_cubed, weight_variance=1.0, start=0.36) == 0
    assert fixed_point(relu_cubed, weight_variance=1.0, start=0.37) == math.inf


def test_gains_keep_lengths_and_gradients():
    for name in ("elu", "gelu", "tanh", "mish"):
        assert length_map(name, 1.0, weight_variance=gain(name) ** 2) == pytest.approx(1, rel=1e-9)
        assert chi(name, length=1.0, weight_variance=gain(name, backward=True) ** 2) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_simulated_wide_layers_follow_the_maps(name):
    """One layer of 100 000 units, of two inputs of correlation 0.6: six standard errors."""
    from initlib.gains import ACTIVATIONS

    rng, units, length, correlation = np.random.default_rng(0), 100_000, 1.3, 0.6
    x, other = rng.normal(size=(2, units)) * math.sqrt(length)
    y = correlation * x + math.sqrt(1 - correlation**2) * other
    products = [1.8 * ACTIVATIONS[name](a) * ACTIVATIONS[name](b) + 0.1 for a, b in ((x, x), (x, y))]
    expected = length_map(name, length, weight_variance=1.8, bias_variance=0.1)
    shared = correlation_map(name, correlation, weight_variance=1.8, bias_variance=0.1, length=length) * expected
    for product, value in zip(products, (expected, shared), strict=True):
        assert abs(product.mean() - value) < 6 * product.std() / math.sqrt(units)


def test_simulated_networks_follow_the_maps():
    """Six tanh layers of 500 units: the mean over 20 networks follows the maps, to four standard errors."""
    variances, width = {"weight_variance": 1.8, "bias_variance": 0.05}, 500
    measured = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        start = rng.normal(size=(2, width))
        x = np.stack([start[0], 0.9 * start[0] + math.sqrt(0.19) * start[1]])
        for _ in range(6):
            weights = rng.normal(size=(width, width)) * math.sqrt(1.8 / width)
            x = np.tanh(x) @ weights + rng.normal(size=width) * math.sqrt(0.05)
        measured.append([x[0] @ x[0] / width, x[0] @ x[1] / np.linalg.norm(x[0]) / np.linalg.norm(x[1])])
    length, correlation = 1.0, 0.9
    for _ in range(6):
        correlation = correlation_map("tanh", correlation, length=length, **variances)
        length = length_map("tanh", length, **variances)
    errors = np.abs(np.mean(measured, axis=0) - (length, correlation))
    assert (errors < 4 * np.std(measured, axis=0) / math.sqrt(20)).all()


def test_chi_is_1_on_the_critical_line():
    assert critical_line("relu") == 2.0
    assert critical_line("tanh") == critical_line("elu") == 1.0
    line = critical_line("tanh", np.array([[1e-4, 0.05], [0.2, 1.0]]))
    assert line.shape == (2, 2)
    for weights, biases in zip(line.flat, (1e-4, 0.05, 0.2, 1.0), strict=True):
        assert chi("tanh", weight_variance=weights, bias_variance=biases) == pytest.approx(1, abs=1e-7)
        assert depth_scale("tanh", weight_variance=weights, bias_variance=biases) > 1e6
    # Schoenholz et al. 2017: the critical point of tanh at bias variance 0.05 is near 1.76.
    assert line[0, 1] == pytest.approx(1.76, abs=0.005)
    with pytest.raises(ValueError, match=r"no weight variance keeps small differences.*when bias_variance is 0\.1"):
        critical_line("relu", 0.1)
    with pytest.raises(ValueError, match="no scale is stable"):
        critical_line(relu_cubed, 0.1)
    with pytest.raises(ValueError, match=r"when bias_variance is 0$"):  # chi is 1 at 4, but lengths grow there
        critical_line("gelu")
    assert describe("gelu") == "no weight variance keeps small differences at a stable length when bias_variance is 0"


def test_the_depth_scale_is_the_rate_of_the_correlation():
    assert depth_scale("relu", weight_variance=1.0, bias_variance=0.1) == pytest.approx(1 / math.log(2), rel=1e-9)
    assert depth_scale("relu", weight_variance=2.0) == math.inf
    assert depth_scale("tanh", weight_variance=0.0, bias_variance=0.1) == 0.0
    # In the chaotic phase: the rate at which the iterated map approaches its fixed point.
    variances = {"weight_variance": 2.5, "bias_variance": 0.05}
    layer = Layer("tanh", 2.5, 0.05, {})
    correlations = Correlations(layer, fixed_point("tanh", **variances))
    path = [0.0]
    while len(path) < 700:
        path.append(float(correlations.map(path[-1])))
    rate = ((path[160] - path[-1]) / (path[150] - path[-1])) ** 0.1
    assert depth_scale("tanh", **variances) == pytest.approx(-1 / math.log(rate), rel=1e-4)
    # An odd function without biases: correlated inputs decorrelate, down to 0.
    square = correlation_map("tanh", 1e-3, weight_variance=2.5) / 1e-3
    assert depth_scale("tanh", weight_variance=2.5) == pytest.approx(-1 / math.log(square), rel=1e-4)


def test_descriptions_name_the_phase():
    assert describe("tanh", weight_variance=0.9).startswith("vanishing: a length of 1 is 0.355")
    assert describe("tanh", weight_variance=1.0).startswith("critical: chi is 1")
    assert describe("tanh", weight_variance=1.0, bias_variance=0.05).startswith("ordered: lengths settle at 0.194")
    assert describe("tanh", weight_variance=3.0, bias_variance=0.05).startswith("chaotic")
    assert describe("relu", weight_variance=2.5).startswith("exploding")
    assert describe("relu").startswith("at the critical weight variance, 2: critical: chi is 1 at length 1")
    assert "3% too large after one layer" in describe(relu_cubed)
    assert "2% too large" in describe("relu_squared")


@settings(max_examples=25)
@given(st.floats(0.3, 3.0), st.floats(0.01, 1.0), st.sampled_from(["tanh", "erf", "sin", "hardtanh"]))
def test_the_length_map_keeps_its_fixed_point(weights, biases, name):
    activation = ERF if name == "erf" else name
    length = fixed_point(activation, weight_variance=weights, bias_variance=biases)
    assert length_map(activation, length, weight_variance=weights, bias_variance=biases) == pytest.approx(
        length, rel=1e-8
    )


@settings(max_examples=25)
@given(st.floats(-0.999, 0.999), st.sampled_from(["relu", "gelu", "hardtanh", "relu6"]))
def test_the_slope_of_the_series_is_its_derivative(c, name):
    from initlib.gains import ACTIVATIONS

    series, step = HermiteSeries(ACTIVATIONS[name]), 1e-5
    difference = float(series(c + step) - series(c - step)) / (2 * step)
    assert series.slope(c) == pytest.approx(difference, abs=1e-4)


def test_lengths_repeat_the_length_map():
    assert lengths("relu", 30, weight_variance=1.0)[-1] == pytest.approx(2.0**-29, rel=1e-9)
    assert lengths("relu", 0, weight_variance=1.0).size == 0
    assert np.isinf(lengths(np.exp, 12, weight_variance=1.0)[-1])


def test_the_phase_diagram_names_its_phases():
    pytest.importorskip("matplotlib")
    for name in ("tanh", "relu"):
        figure = phase_diagram(name, weight_variance=(0.5, 3.0))
        axes = figure.axes[0]
        assert axes.get_xlabel().startswith("weight variance")
        assert axes.get_ylabel() == "bias variance"
        assert name in axes.get_title()
        assert {"tanh": "chaotic", "relu": "grows without\nbound"}[name] in [text.get_text() for text in axes.texts]


def test_the_phase_diagram_shows_chi():
    weights, biases = np.meshgrid([0.7, 1.9, 3.1], [0.05, 0.4])
    layer = Layer("tanh", 1.0, 0.0, {})
    rates = _rates(layer, weights, biases)
    for at in np.ndindex(weights.shape):
        exact = chi("tanh", weight_variance=weights[at], bias_variance=biases[at])
        assert rates[at] == pytest.approx(exact, rel=2e-3)


def test_arguments_out_of_range_are_errors():
    with pytest.raises(ValueError, match="length must be above 0, got 0"):
        length_map("relu", 0.0, weight_variance=1.0)
    with pytest.raises(ValueError, match=r"weight_variance must be at least 0, got -1\.0"):
        chi("relu", weight_variance=-1)
    with pytest.raises(ValueError, match=r"correlation must be from -1 to 1, got 1\.5"):
        correlation_map("relu", 1.5, weight_variance=2.0)
    with pytest.raises(ValueError, match="length must be given for"):
        chi("relu", weight_variance=3.0)
    with pytest.raises(ValueError, match="activation must be a function or one of"):
        fixed_point("rleu", weight_variance=1.0)
    with pytest.raises(TypeError, match="'tanh' must be none, got 'slope'"):
        chi("tanh", weight_variance=1.0, slope=0.2)
    with pytest.raises(ValueError, match="bias_variance must be a range"):
        phase_diagram("tanh", bias_variance=(1.0, 1.0))
    with pytest.raises(ValueError, match="activation must be finite up to 12 sigmas"):
        correlation_map(np.log, 0.5, weight_variance=1.0, length=1.0)
    with pytest.raises(ValueError, match="must not make all signals 0"):
        correlation_map(np.zeros_like, 0.5, weight_variance=1.0, length=1.0)
    with pytest.raises(ValueError, match="depth must be at least 0"):
        lengths("relu", -1, weight_variance=1.0)

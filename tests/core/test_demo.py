"""Demo: its network, the results of the four initializations, and the conclusion."""

import re

import numpy as np
import pytest

from initlib import glorot_uniform, he_normal
from initlib.__main__ import main
from initlib.key import Key

demo = pytest.importorskip("initlib.cli.demo", exc_type=ImportError)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "picture.png"
    return out, {result.initializer: result for result in demo.run(out, seed=0, epochs=20)}


def test_each_initialization_has_its_usual_outcome(ran):
    _, results = ran
    assert results["zeros"].accuracy < 0.15
    assert results["normal, std 10"].accuracy < 0.6
    assert results["glorot_uniform"].accuracy > 0.95
    assert results["he_normal"].accuracy > 0.95


def test_zeros_stay_at_chance(ran):
    result = ran[1]["zeros"]
    assert result.activation_std == result.gradient_std == [0, 0, 0]
    assert np.allclose(result.loss, np.log(10), rtol=0, atol=0.01)


def test_the_signal_at_the_start_is_measured(ran):
    _, results = ran
    for first, last in (results["he_normal"].activation_std[::2], results["he_normal"].gradient_std[::2]):
        assert 0.2 < last / first < 5
    first, _, last = results["normal, std 10"].activation_std
    assert last > 1000 * first


def test_the_picture_is_written(ran):
    out, _ = ran
    content = out.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert list(out.parent.iterdir()) == [out]


def test_gradients_are_those_of_the_loss():
    network = demo.Network(glorot_uniform, Key(1))
    random = np.random.default_rng(0)
    x, y = random.random((5, 64)), random.integers(0, 10, 5)
    _, weights, biases = network.backward(network.forward(x), y)
    for values, gradients in ((network.weights, weights), (network.biases, biases)):
        for value, gradient in zip(values, gradients, strict=True):
            index = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
            losses = []
            for step in (1e-6, -2e-6):
                value[index] += step
                losses.append(network.backward(network.forward(x), y)[0])
            assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(gradient[index], rel=1e-5)


def test_each_layer_has_its_own_stream():
    network, again = demo.Network(glorot_uniform, Key(1)), demo.Network(glorot_uniform, Key(1))
    for (name, shape), weight, same in zip(demo.LAYERS.items(), network.weights, again.weights, strict=True):
        assert np.array_equal(weight, same)
        assert np.array_equal(weight, glorot_uniform(shape, seed=1, name=name))


def test_a_divergence_is_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "RATE", 1e300)
    results = demo.run(tmp_path / "picture.png", epochs=3)
    assert any(len(result.loss) < 3 for result in results)
    assert "diverged" in capsys.readouterr().out


def test_the_command_prints_the_results(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo.run, "__defaults__", (None, 0, 1))
    assert main(["demo", "--seed", "5", "--out", "other.png"]) == 0
    out = capsys.readouterr().out
    assert "seed 5" in out
    assert "wrote other.png" in out
    assert len(re.findall(r"\d\.\d%", out)) == 2 * 4  # in the table and in the conclusion
    assert [path.name for path in tmp_path.iterdir()] == ["other.png"]


def test_without_out_the_command_prints_a_conclusion_and_writes_no_file(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo.run, "__defaults__", (None, 0, 20))
    assert main(["demo"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "zeros: no gradient reaches the weights, so the network never learns" in out
    assert re.search(r"normal, std 10: the signal grows \d+ times", out)
    assert "he_normal: the signal keeps its size through the layers, so the network learns (9" in out
    first = he_normal((64, 128), seed=0, name="hidden1").flat[0]
    assert f"under he_normal and seed 0 is {first:.9g}, in NumPy, PyTorch, Keras and JAX alike" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["picture", "picture.txt", "nowhere/picture.png"])
def test_a_picture_that_cannot_be_written_is_refused_before_training(tmp_path, capsys, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "_digits", None)
    assert main(["demo", "--out", out]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("initlib: out ")
    assert list(tmp_path.iterdir()) == []

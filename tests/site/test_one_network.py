import importlib.util
from pathlib import Path

import numpy as np
import pytest

import initlib

SPEC = importlib.util.spec_from_file_location("one_network", Path(__file__).parents[2] / "examples" / "one_network.py")
one_network = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(one_network)

CORE = {
    "conv": initlib.he_normal((3, 3, 3, 8), seed=0, name="conv"),
    "depthwise": initlib.he_uniform((3, 3, 8, 2), axes="HWBO", seed=0, name="depthwise"),
    "transposed": initlib.lecun_normal((2, 2, 8, 16), axes="HWOI", seed=0, name="transposed"),
    "qkv": initlib.glorot_uniform((3, 8, 2, 4), axes="BIOO", seed=0, name="qkv"),
    "dense": initlib.glorot_normal((8, 10), seed=0, name="dense"),
}


@pytest.fixture(scope="module")
def first():
    pytest.importorskip("torch")
    return one_network.run("torch", "")


@pytest.mark.parametrize("title", one_network.RUNS)
def test_one_network_has_the_same_weights_in_every_framework(title, first):
    framework, needed, backend = one_network.RUNS[title]
    for package in {framework, needed}:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    weights, outputs = one_network.run(framework, backend) if title != "PyTorch" else first
    assert one_network.compare((weights, outputs), first)[0] == list(CORE)
    assert abs(outputs - first[1]).max() < 1e-5
    assert outputs.shape == (4, 10)
    assert abs(outputs).max() > 0.01


def test_the_weights_are_those_of_the_core(first):
    for name, weight in CORE.items():
        axes = one_network.AXES["keras"][name]
        assert np.array_equal(first[0][name], one_network.canonical(weight.shape, axes).arrange(weight).ravel())


def test_the_comparison_can_fail():
    weights, outputs = {"a": np.zeros(2), "b": np.zeros(2)}, np.zeros(3)
    equal, apart = one_network.compare(({"a": np.zeros(2), "b": -np.zeros(2)}, outputs + 1), (weights, outputs))
    assert equal == ["a"]
    assert apart == 1

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import initlib

SPEC = importlib.util.spec_from_file_location(
    "one_transformer", Path(__file__).parents[2] / "examples" / "one_transformer.py"
)
one_transformer = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(one_transformer)

WIDTH, HEADS, HEAD = one_transformer.WIDTH, one_transformer.HEADS, one_transformer.HEAD
RESIDUAL = initlib.glorot_normal * 6**-0.5
CORE = {
    "embed": initlib.normal(std=0.02)((64, WIDTH), seed=0, name="embed"),
    "blocks.1.attention.query": initlib.glorot_normal((WIDTH, HEADS * HEAD), seed=0, name="blocks.1.attention.query"),
    "blocks.2.attention.out": RESIDUAL((HEADS * HEAD, WIDTH), seed=0, name="blocks.2.attention.out"),
    "blocks.0.gate": initlib.glorot_normal((WIDTH, 48), seed=0, name="blocks.0.gate"),
    "blocks.0.down": RESIDUAL((48, WIDTH), seed=0, name="blocks.0.down"),
    "norm": np.ones(WIDTH, np.float32),
}


@pytest.fixture(scope="module")
def first():
    pytest.importorskip("torch")
    return one_transformer.run("torch", "")


@pytest.mark.parametrize("title", one_transformer.RUNS)
def test_one_transformer_has_the_same_weights_in_every_framework(title, first):
    framework, needed, backend = one_transformer.RUNS[title]
    for package in needed:
        pytest.importorskip(package)
    model = one_transformer.run(framework, backend) if title != "PyTorch" else first
    assert set(model[0]) == set(first[0])
    equal, logits, losses = one_transformer.compare(model, first)
    assert equal == len(first[0]) == 30
    assert logits < 1e-4
    assert losses < 1e-4


def test_the_weights_are_those_of_the_core(first):
    for name, weight in CORE.items():
        assert np.array_equal(first[0][name], weight.ravel())


def test_the_transformer_learns(first):
    _, logits, losses = first
    assert logits.shape == (4, 12, 64)
    assert abs(losses[0] - np.log(64)) < 0.1
    assert losses[2] < losses[1] < losses[0]


def test_the_comparison_can_fail():
    mine = ({"a": np.zeros(2), "b": np.zeros(2)}, np.zeros(3), np.zeros(3))
    other = ({"a": np.zeros(2), "b": -np.zeros(2)}, np.ones(3), np.full(3, 2.0))
    assert one_transformer.compare(other, mine) == (1, 1, 2)
    assert one_transformer.compare(({"a": np.zeros(2)}, *mine[1:]), mine) == (1, 0, 0)

"""Names of the variables of a model: paths, numbers, and `rename`."""

import re

import keras
import numpy as np
import pytest
from keras import layers
from keras_backend import LINE, by_name, check, quiet, sequential, values, weights_of

from initlib import PlanError, glorot_uniform, he_normal, normal, parts, zeros
from initlib.adapters import keras as adapter

pytestmark = quiet


def test_automatic_names_are_numbered_by_their_place():
    def made():
        return sequential(
            layers.Dense(4), layers.Dense(3, name="mine"), layers.BatchNormalization(), layers.Dense(2, name="dense_9")
        )

    names = {
        "dense": ["kernel", "bias"],
        "mine": ["kernel", "bias"],
        "batch_normalization": ["gamma", "beta", "moving_mean", "moving_variance"],
        "dense_1": ["kernel", "bias"],
    }
    first, second = made(), made()
    assert [variable.path for variable in first.weights] != [variable.path for variable in second.weights]
    for model in (first, second):
        plan = adapter.initialize(model, seed=5)
        assert list(by_name(model)) == [f"{layer}.{name}" for layer, each in names.items() for name in each]
        assert plan["dense_1.kernel"].parameter.shape == (3, 2)
    for one, other in zip(weights_of(first), weights_of(second), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (("block_0", "block_1", "block_2"), ("block_0", "block_1", "block_2")),  # no automatic name ends in _0
        (("block_00", "block_01"), ("block_00", "block_01")),
        (("block_1", "block_0"), ("block_1", "block_0")),
        (("block_7", "block_8"), ("block", "block_1")),  # as the 8th and 9th of a process are called
        (("block_1", "block"), ("block", "block_1")),
        (("block_a_0", "block_3"), ("block_a_0", "block")),
        (("dense_0", "block_3"), ("dense_0", "block")),  # of another class
    ],
)
def test_numbers_in_names_of_the_user_stay(given, names):
    class Block(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.inner = layers.Dense(6, name="inner")

        def call(self, x):
            return self.inner(x)

    model = sequential(*(Block(name=name) for name in given))
    adapter.initialize(model, he_normal, seed=0)
    assert list(by_name(model))[::2] == [f"{name}.inner.kernel" for name in names]
    for layer, name in zip(model.layers, names, strict=True):
        assert np.array_equal(values(layer.inner.kernel), he_normal((6, 6), seed=0, name=f"{name}.inner.kernel"))


def test_names_are_paths():
    model = keras.Sequential([keras.Input(LINE), *(layers.Dense(6, name=name) for name in ("a", "b"))], name="model")
    model.add(layers.Bidirectional(layers.GRU(3), name="two"))
    paths = [variable.path.removeprefix("model/").replace("/", ".") for variable in model.weights]
    assert [re.sub(r"gru_\d+", "gru", path) for path in paths] == list(by_name(model))


def test_names_that_appear_twice_are_numbered():
    class Twice(layers.Layer):
        def build(self, shape):
            self.one = self.add_weight(name="w", shape=(2, 3), initializer="ones")
            self.two = self.add_weight(name="w", shape=(2, 3), initializer="ones")
            self.three = self.add_weight(shape=(2, 3))
            self.inner = [layers.Dense(2, name="x"), layers.Dense(2, name="x")]
            for layer in self.inner:
                layer.build(shape)

        def call(self, x):
            return self.inner[1](self.inner[0](x))

    layer = Twice()
    layer.build((None, 2))
    assert list(by_name(layer)) == ["w", "w_1", "variable", "x.kernel", "x.bias", "x_1.kernel", "x_1.bias"]
    plan = adapter.initialize(layer, normal(), seed=0)
    check(layer, plan)


def test_rename_applies_before_rules():
    model = sequential(layers.Dense(4, name="up"), layers.Dense(6, name="down"))
    plan = adapter.initialize(
        model, {"mlp.w2": zeros}, 7, default=he_normal, rename={"up.kernel": "mlp.w1", "down.kernel": "mlp.w2"}
    )
    assert np.array_equal(values(model.layers[0].kernel), he_normal((6, 4), seed=7, name="mlp.w1"))
    assert not values(model.layers[1].kernel).any()
    assert plan["down.kernel"].stream == "mlp.w2"


def test_fused_weights_have_the_bits_of_split_weights():
    model = sequential(layers.Dense(12, name="qkv"))
    fused = {"qkv.kernel": parts({"q.kernel": 1, "k.kernel": 1, "v.kernel": 1}, glorot_uniform, axis=1, replaces=2)}
    adapter.initialize(model, fused, seed=0)
    for i, name in enumerate("qkv"):
        alone = glorot_uniform((6, 4), seed=0, name=f"{name}.kernel")
        assert np.array_equal(values(model.layers[0].kernel)[:, 4 * i : 4 * i + 4], alone)
    with pytest.raises(PlanError, match=r"qkv\.kernel: no rule matches, and there is no default"):
        adapter.plan(model, {"qkv.kernel": parts({"q.kernel": 1, "k.kernel": 2}, axis=1, replaces=2)})

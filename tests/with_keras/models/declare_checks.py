"""Layers of the user, whose axes `declare` or the layer states."""

import keras
import numpy as np
import pytest
from keras import layers
from keras_backend import quiet, sequential, values

from initlib import PlanError, he_normal, zeros
from initlib.adapters import keras as adapter

pytestmark = quiet


class Experts(layers.Layer):
    """A layer of the user, which states no initializers."""

    def build(self, shape):
        self.up = self.add_weight(name="up", shape=(4, shape[-1], 8), initializer="he_normal")
        self.table = self.add_weight(name="table", shape=(3,), initializer="random_normal")

    def call(self, x):
        return keras.ops.einsum("bi,eio->beo", x, self.up)


def test_layers_of_the_user_are_filled():
    model = sequential(Experts())
    with pytest.raises(PlanError) as error:
        adapter.plan(model)
    assert [problem.split(":")[0] for problem in error.value.problems] == ["experts.up", "experts.table"]
    assert "Experts states no initializer in an attribute such as" in error.value.problems[0]
    assert error.value.problems[1].endswith('Add the rule {"*.table": keep}  # differing values as constructed')
    with pytest.raises(PlanError, match=r"needs to know which of the 3 axes in Experts are inputs and outputs"):
        adapter.plan(model, {"*.table": zeros}, default=he_normal)
    assert adapter.declare(Experts, up="BIO") is Experts
    plan = adapter.initialize(model, {"*.table": zeros}, seed=0, default=he_normal)
    assert plan["experts.up"].parameter.kind == "kernel"
    assert np.array_equal(values(model.layers[0].up), he_normal((4, 6, 8), axes="BIO", seed=0, name="experts.up"))
    adapter.declare(Experts, down="BOI")
    with pytest.raises(PlanError, match=r"declared axes must be for parameters of Experts \(up, table\), got 'down'"):
        adapter.plan(model)
    with pytest.raises(TypeError, match=r"cls must be a class of keras\.layers\.Layer, got 3"):
        adapter.declare(3)
    with pytest.raises(ValueError, match=r"Dense\.kernel: axes must consist of .*, got '\?' in 'I\?'"):
        adapter.declare(layers.Dense, kernel="I?")


def test_a_layer_may_state_its_axes():
    class Own(layers.Layer):
        initlib_axes = {"w": "OI"}  # noqa: RUF012

        def build(self, shape):
            self.w_initializer = keras.initializers.get("he_normal")
            self.w = self.add_weight(name="w", shape=(5, shape[-1]), initializer=self.w_initializer)

        def call(self, x):
            return x

    model = sequential(Own())
    adapter.initialize(model, seed=0)
    assert np.array_equal(values(model.layers[0].w), he_normal((5, 6), axes="OI", seed=0, name="own.w"))

"""Values that constructors set on purpose."""

import keras
import numpy as np
import pytest
from keras import layers
from keras_backend import LINE, quiet, sequential, weights_of

import initlib
from initlib import PlanError, glorot_uniform, keep, normal, zeros
from initlib.adapters import keras as adapter

pytestmark = quiet


def test_kernels_that_their_layers_set_are_not_drawn():
    own = {"kernel_initializer": "identity"}, {"kernel_initializer": "zeros"}, {"kernel_initializer": "he_normal"}
    model = sequential(*(layers.Dense(6, name=name, **each) for name, each in zip("abc", own, strict=True)))
    plan = adapter.initialize(model, glorot_uniform, seed=0)
    fillings = [plan[f"{name}.kernel"].filling for name in "abc"]
    assert fillings == [initlib.identity(), zeros, glorot_uniform]
    assert plan["b.kernel"].notes == ("zeros as constructed",)


def test_values_that_no_initializer_draws_need_a_rule():
    positions = np.arange(16)[:, None] / 10000 ** (np.arange(0, 8, 2) / 8)

    class Set(layers.Layer):
        def build(self, shape):
            gain, mask = keras.initializers.Constant(0.1), keras.ops.convert_to_tensor(np.tri(6, dtype="float32"))
            waves = np.concatenate([np.sin(positions), np.cos(positions)], 1).astype("float32")
            self.gain = self.add_weight(name="gain", shape=(1, 1, 6), initializer=gain)
            self.token = self.add_weight(name="token", shape=(2, 6), initializer="zeros")
            self.mask = self.add_weight(name="mask", shape=(6, 6), initializer=lambda shape, dtype: mask)
            self.waves = self.add_weight(name="waves", shape=(16, 8), initializer=lambda shape, dtype: waves)
            self.steps = self.add_weight(name="steps", shape=(6,), initializer=lambda shape, dtype: mask[0] + mask[2])

        def call(self, x):
            return x * self.gain

    model = sequential(Set(name="own"), shape=LINE)
    with pytest.raises(PlanError) as error:
        adapter.plan(model, default=normal(std=0.02))
    assert [problem.split(": ")[0] for problem in error.value.problems] == ["own.mask", "own.waves", "own.steps"]
    rules = {f"*.{name}": keep for name in ("mask", "waves", "steps")}
    before = weights_of(model)
    plan = adapter.initialize(model, rules, seed=0, default=normal(std=0.02))
    assert plan["own.gain"].notes == ("0.1 as constructed",)
    assert plan["own.token"].notes == ("zeros as constructed",)
    for one, other in zip(before, weights_of(model), strict=True):
        assert np.array_equal(one, other)

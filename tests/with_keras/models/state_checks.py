"""Variables that are no parameters: statistics, buffers, and the state of training."""

import numpy as np
import pytest
from keras import layers
from keras_backend import check, quiet, sequential, values

from initlib import PlanError, he_normal, keep, normal, rotary_frequencies, sinusoidal
from initlib.adapters import keras as adapter

pytestmark = quiet


def test_training_state_is_kept():
    model = sequential(layers.Dense(4), layers.Dropout(0.5, seed=3), layers.BatchNormalization(), layers.Dense(1))
    model.compile("adam", "mse", metrics=["mae"])
    inputs = np.random.default_rng(0).standard_normal((8, 6)).astype("float32")
    model.fit(inputs, inputs[:, :1], epochs=2, verbose=0)
    weighted = {id(variable) for variable in model.weights}
    others = [v for v in [*model.variables, *model.optimizer.variables] if id(v) not in weighted]
    before = [values(variable) for variable in others]
    assert len(others) > 5
    plan = adapter.initialize(model, seed=0)
    check(model, plan)
    for value, variable in zip(before, others, strict=True):
        assert np.array_equal(value, values(variable))
    assert set(values(model.layers[2].moving_mean)) == {0}
    assert set(values(model.layers[2].moving_variance)) == {1}
    model.fit(inputs, inputs[:, :1], epochs=1, verbose=0)


def test_statistics_are_never_drawn():
    data = np.random.default_rng(0).standard_normal((100, 6)).astype("float32")
    known = layers.Normalization()
    known.adapt(data)
    model = sequential(known, layers.Dense(2), layers.BatchNormalization())
    mean = values(known.mean)
    adapter.initialize(model, normal(), seed=0)
    assert np.array_equal(values(known.mean), mean)
    assert mean.any()
    with pytest.raises(PlanError, match="running statistics and states of optimizers cannot be drawn") as error:
        adapter.initialize(model, {"*.count": keep, "*": normal()}, seed=0)
    assert [problem.split(":")[0] for problem in error.value.problems] == [
        "normalization.mean",
        "normalization.variance",
        "batch_normalization.moving_mean",
        "batch_normalization.moving_variance",
    ]
    adapter.initialize(model, {"*:buffer": keep, "*": normal()}, seed=0)


def test_tables_and_buffers_are_set_by_functions_of_the_index():
    class Rotary(layers.Layer):
        def build(self, shape):
            self.table = self.add_weight(shape=(6, 4), name="table", initializer=adapter.CoreInitializer(sinusoidal()))
            self.inv_freq = self.add_weight(shape=(8,), name="inv_freq", trainable=False)

        def call(self, inputs):
            return inputs

    model = sequential(layers.Dense(6), Rotary())
    table = sinusoidal()((6, 4))
    assert np.array_equal(values(model.layers[-1].table), table)
    adapter.initialize(model, {"*.inv_freq:buffer": rotary_frequencies(), "*.table": sinusoidal() * 0.5}, seed=0)
    assert np.array_equal(values(model.layers[-1].table), table * np.float32(0.5))
    assert np.array_equal(values(model.layers[-1].inv_freq), rotary_frequencies()(8))


def test_statistics_of_a_frozen_layer_are_kept():
    model = sequential(layers.Dense(4), layers.BatchNormalization(), layers.Dense(2, name="head"))
    model.layers[1].moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    model.layers[1].trainable = False
    adapter.initialize(model, he_normal, seed=0)
    assert values(model.layers[1].moving_mean).tolist() == [1, 2, 3, 4]

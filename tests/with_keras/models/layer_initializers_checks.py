"""Initializers that layers state themselves."""

import keras
import numpy as np
import pytest
from keras import layers
from keras_backend import check, quiet, sequential, values

import initlib
from initlib import PlanError, glorot_uniform, he_normal, normal, orthogonal, zeros
from initlib.adapters import keras as adapter

pytestmark = quiet


@pytest.mark.parametrize(
    ("initializer", "core"),
    [
        ("glorot_normal", initlib.glorot_normal),
        ("he_uniform", initlib.he_uniform),
        (keras.initializers.VarianceScaling(1.5, "fan_out", "untruncated_normal"), None),
        (keras.initializers.RandomNormal(0.5, 0.1, seed=3), normal(0.5, 0.1)),
        (keras.initializers.RandomUniform(-1, 2), initlib.uniform(-1, 2)),
        (keras.initializers.TruncatedNormal(stddev=0.1), initlib.truncated_normal(std=0.1)),
        (keras.initializers.Orthogonal(2.0, seed=keras.random.SeedGenerator(3)), orthogonal(2.0)),
        (keras.initializers.Identity(0.5), initlib.identity(0.5)),
        (keras.initializers.Constant(0.25), initlib.constant(0.25)),
        ("zeros", zeros),
        ("ones", initlib.ones),
        (adapter.HeNormal(seed=9, name="not.used"), he_normal),
        (adapter.CoreInitializer(initlib.sparse(0.5)), initlib.sparse(0.5)),
        (initlib.siren(), initlib.siren()),
    ],
    ids=str,
)
def test_a_layer_keeps_its_own_initializer(initializer, core):
    model = sequential(layers.Dense(6, kernel_initializer=initializer))
    plan = adapter.initialize(model, seed=0)
    core = core or initlib.variance_scaling(1.5, "fan_out", "normal")
    assert plan["dense.kernel"].filling == core
    assert np.array_equal(values(model.layers[0].kernel), core((6, 6), seed=0, name="dense.kernel"))


def test_an_initializer_may_state_axes():
    kernel = adapter.HeNormal(axes="OI", seed=1)
    assert adapter.plan(sequential(layers.Dense(3, kernel_initializer=kernel)))["dense.kernel"].parameter.axes == "OI"


def test_an_initializer_of_the_user_s_own_class_is_not_known():
    class Own(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return keras.random.normal(shape, dtype=dtype) if len(shape) > 1 else keras.ops.ones(shape, dtype)

    model = sequential(layers.Dense(3, kernel_initializer=Own(), bias_initializer=Own()))
    with pytest.raises(PlanError, match=r"dense\.kernel: no rule matches, and Dense states no initializer") as error:
        adapter.initialize(model, seed=0)
    assert len(error.value.problems) == 1  # all weights of the bias are 1
    plan = adapter.initialize(model, he_normal, seed=0)
    assert plan["dense.bias"].filling == initlib.ones
    model.layers[0].bias.assign([1.0, 2.0, 3.0])
    assert adapter.initialize(model, he_normal, seed=0)["dense.bias"].filling == initlib.ones  # as it was built


class Stating(layers.Layer):
    """A layer with other names of variables, and one initializer for all, as in keras-hub."""

    def __init__(self, attribute, shapes, **options):
        super().__init__(**options)
        self.shapes = shapes
        setattr(self, attribute, keras.initializers.HeNormal())
        self.stated = getattr(self, attribute)

    def build(self, shape):
        for name, sizes in self.shapes.items():
            setattr(self, name, self.add_weight(name=name, shape=sizes, initializer=self.stated))
        self.start = self.add_weight(name="start", shape=(3, 4), initializer="zeros")

    def call(self, x):
        return x


def test_the_only_initializer_of_a_layer_fills_all_its_variables():
    shapes = {"embeddings": (8, 6), "expert_up": (3, 6, 4), "mix": (6, 5)}
    for attribute in ("initializer", "kernel_initializer"):
        model = sequential(Stating(attribute, shapes, name="own"))
        plan = adapter.plan(model)
        facts = {entry.parameter.name: (entry.parameter.axes, entry.parameter.kind) for entry in plan.entries}
        assert facts == {
            "own.embeddings": ("IO", "table"),
            "own.expert_up": ("BIO", "kernel"),
            "own.mix": ("IO", "kernel"),
            "own.start": (None, "other"),
        }
        assert [entry.filling for entry in plan.entries] == [he_normal] * 3 + [zeros]
        plan = adapter.initialize(model, glorot_uniform, seed=0)
        assert [entry.filling for entry in plan.entries] == [normal(std=0.02), *[glorot_uniform] * 2, zeros]
        check(model, plan)
        model.layers[0].start.assign(np.arange(12.0).reshape(3, 4))  # as training does
        assert adapter.plan(model, glorot_uniform)["own.start"].filling == zeros


def test_initializers_of_keras_are_known_where_this_module_replaces_them(monkeypatch):
    model = sequential(layers.Dense(4, kernel_initializer=keras.initializers.HeNormal(), bias_initializer="ones"))
    monkeypatch.setattr(keras.initializers, "HeNormal", adapter.HeNormal)
    monkeypatch.setattr(keras.initializers, "Ones", adapter.Zeros)
    assert [entry.filling for entry in adapter.plan(model).entries] == [he_normal, initlib.ones]

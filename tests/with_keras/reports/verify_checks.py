"""Comparisons of models with plans on the Keras backend of this process; `test_backends.py` runs it."""

import keras
import numpy as np
import pytest
from keras import layers
from keras_backend import only, quiet, sequential, values

from initlib import Key, PlanError, keep, normal, orthogonal, parts, uniform
from initlib.adapters import keras as adapter

pytestmark = quiet


def model_of(*inner, shape=(48,)):
    return keras.Sequential([keras.Input(shape), *inner])


def change(variable, function):
    """Apply a function to the values of a variable."""
    values = np.array(keras.ops.convert_to_numpy(variable))
    function(values)
    variable.assign(values)


def reports(*arguments, **options):
    return [str(difference) for difference in adapter.verify(*arguments, **options)]


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_nothing_differs_after_initialize(dtype, whole):
    model = model_of(layers.Dense(64, dtype=dtype), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(32))
    plan = adapter.initialize(model, seed=0)
    result = adapter.verify(model, plan, seed=0, whole=whole)
    assert not result
    assert result.summary.startswith("nothing differs: compared ")
    assert reports(model, plan, 1) == [
        f"'{name}.kernel' has other values from index (0, 0) on" for name in ("dense", "dense_1")
    ]


def test_recurrent_and_other_layers_are_compared():
    model = model_of(layers.Embedding(50, 16), layers.LSTM(12), layers.Dense(4), shape=(7,))
    rules = {"*.recurrent_kernel": parts({f"{gate}": 1 for gate in "ifco"}, orthogonal(), axis=-1)}
    plan = adapter.initialize(model, rules, seed=0)
    assert reports(model, plan, 0, whole=True) == []


def test_changed_weights_and_swapped_rows_are_found():
    model = model_of(layers.Dense(48), layers.Dense(48), layers.Dense(40))
    plan = adapter.initialize(model, normal(std=0.02), seed=0)
    first, second, third = (layer.kernel for layer in model.layers)
    values = keras.ops.convert_to_numpy(first).copy()
    first.assign(second)
    second.assign(values)

    def swap(values):
        values[[3, 7]] = values[[7, 3]]

    change(third, swap)

    def set_one(values):
        values[5] = 1

    change(model.layers[2].bias, set_one)
    assert reports(model, plan, 0, whole=True) == [
        "'dense.kernel' has other values from index (0, 0) on: holds dense_1.kernel",
        "'dense_1.kernel' has other values from index (0, 0) on: holds dense.kernel",
        "'dense_2.kernel' has other values from index (3, 0) on: holds row 7 of the same weight",
        "'dense_2.bias' has other values from index (5,) on",
    ]
    assert reports(model, plan, 0, only="dense_2.bias", whole=True) == [
        "'dense_2.bias' has other values from index (5,) on"
    ]


def test_missing_and_additional_variables_are_differences():
    plan = adapter.initialize(model_of(layers.Dense(64), layers.Dense(32)), seed=0, prefix="encoder")
    other = model_of(layers.Dense(64, use_bias=False), layers.Dense(16), layers.Dense(8))
    assert reports(other, plan, 0, prefix="encoder", only="*ense*") == reports(other, plan, 0, prefix="encoder")
    differences = {(each.name, each.what) for each in adapter.verify(other, plan, 0, prefix="encoder")}
    assert {
        ("encoder.dense.bias", "is missing"),
        ("encoder.dense_1.kernel", "has shape (64, 16), but the plan has (64, 32)"),
        ("encoder.dense_2.kernel", "is not in the plan"),
    } <= differences


def test_kept_variables_are_compared_by_shape_and_dtype():
    model = model_of(layers.Dense(64))
    plan = adapter.initialize(model, {"dense.bias": keep, "dense.kernel": uniform(0.5, 1.0)}, seed=0)
    model.layers[0].bias.assign(np.ones(64))
    assert reports(model, plan, 0, whole=True) == []


def test_an_unbuilt_model_is_an_error():
    plan = adapter.initialize(model_of(layers.Dense(64)), seed=0)
    with pytest.raises(PlanError):
        adapter.verify(keras.Sequential([layers.Dense(64)]), plan, 0)


@only["jax"]
def test_sharded_variables_are_compared():
    mesh = keras.distribution.DeviceMesh((4, 2), ("batch", "model"))
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*kernel"] = keras.distribution.TensorLayout(["batch", "model"])
    with keras.distribution.ModelParallel(layout_map=layout).scope():
        model = model_of(layers.Dense(64))
        plan = adapter.initialize(model, seed=0)
        assert reports(model, plan, 0, whole=True) == []

        def set_one(values):
            values[30, 50] = 1

        change(model.layers[0].kernel, set_one)
        assert reports(model, plan, 0, whole=True) == ["'dense.kernel' has other values from index (30, 50) on"]


def test_verify_finds_what_differs_and_nothing_else():
    model = sequential(
        layers.Dense(40, name="q"), layers.Dense(40, name="k", dtype="bfloat16"), layers.LSTM(4), shape=(8, 40)
    )
    plan = adapter.initialize(model, seed=0)
    assert adapter.verify(model, plan, 0) == adapter.verify(model, plan, Key(0), whole=True) == ()
    drawn = [each.parameter.name for each in plan.entries if not each.parameter.name.endswith("bias")]
    assert [each.name for each in adapter.verify(model, plan, 1)] == drawn
    kernel = values(model.layers[0].kernel)
    changed = kernel.copy()
    changed[3, 5] += 1
    model.layers[0].kernel.assign(changed)
    (difference,) = adapter.verify(model, plan, 0, whole=True)
    assert (difference.name, difference.index) == ("q.kernel", (3, 5))
    model.layers[0].kernel.assign(kernel[[1, 0, *range(2, 40)]])
    assert [each.name for each in adapter.verify(model, plan, 0, whole=True)] == ["q.kernel"]
    other = adapter.plan(sequential(layers.Dense(41, name="q"), layers.Dense(2, name="v"), shape=(8, 40)))
    differences = {each.name: each.what for each in adapter.verify(model, other, 0)}
    assert differences["q.kernel"] == "has shape (40, 40), but the plan has (40, 41)"
    assert differences["k.kernel"] == "is not in the plan"
    assert differences["v.kernel"] == "is missing"

"""Old weights: of another model, and of a checkpoint."""

import keras
import numpy as np
import pytest
from checkpoints import save
from keras import layers
from keras_backend import BACKEND, by_name, check, quiet, sequential, weights_of

from initlib import PlanError, loaded, normal
from initlib.adapters import keras as adapter

pytestmark = quiet


def two_layers():
    dense = [layers.Dense(4, use_bias=False, name=name) for name in "ab"]
    return keras.Sequential([keras.Input((4,)), *dense])


def test_variables_of_another_model_are_a_source():
    old, new = two_layers(), two_layers()
    swapped = {f"{one}.kernel": loaded(by_name(old), f"{two}.kernel") for one, two in ("ab", "ba")}
    adapter.initialize(new, swapped, seed=0)
    assert all(map(np.array_equal, weights_of(new), reversed(weights_of(old))))


@pytest.mark.parametrize("of", ["variables", "values"])
def test_a_model_is_not_read_while_it_is_written(of):
    model = two_layers()
    before = weights_of(model)
    old = {name: variable if of == "variables" else variable.value for name, variable in by_name(model).items()}
    swapped = {f"{one}.kernel": loaded(old, f"{two}.kernel") for one, two in ("ab", "ba")}
    if BACKEND == "jax" and of == "values":  # arrays of JAX do not change
        adapter.initialize(model, swapped, seed=0)
        assert all(map(np.array_equal, weights_of(model), reversed(before)))
        return
    with pytest.raises(
        PlanError, match=r"must not share memory with the model, because the fill overwrites it\. Pass copies"
    ):
        adapter.initialize(model, swapped, seed=0)
    assert all(map(np.array_equal, weights_of(model), before))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_old_weights_of_another_framework(tmp_path, dtype):
    model = sequential(layers.Dense(4, dtype=dtype), layers.BatchNormalization(dtype=dtype))
    rng = np.random.default_rng(0)
    shapes = {
        "fc.weight": (4, 6),
        "fc.bias": (4,),
        **{f"norm.{name}": (4,) for name in ("weight", "bias", "mean", "var")},
    }
    old = {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}
    path = save(tmp_path / "old", old)
    rules = {
        "dense.kernel": loaded(path, "fc.weight", axes="OI") * 0.5 + normal(std=0.1),
        "dense.bias": loaded(path, "fc.bias"),
        "*.gamma": loaded(path, "norm.weight"),
        "*.beta": loaded(path, "norm.bias"),
        "*.moving_mean": loaded(path, "norm.mean"),
        "*.moving_variance": loaded(path, "norm.var"),
    }
    drawn = check(model, adapter.initialize(model, rules, seed=3), seed=3)
    noise = normal(std=0.1)((6, 4), axes="IO", seed=3, name="dense.kernel")
    kernel = old["fc.weight"].T * np.float32(0.5) + noise
    assert np.array_equal(drawn["dense.kernel"], kernel.astype(drawn["dense.kernel"].dtype))
    mean = drawn["batch_normalization.moving_mean"]
    assert np.array_equal(mean, old["norm.mean"].astype(mean.dtype))

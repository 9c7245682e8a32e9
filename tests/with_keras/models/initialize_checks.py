"""`initialize` and `plan` of models of every form."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers
from keras_backend import BACKEND, LINE, by_name, check, quiet, sequential, values, weights_of

import initlib
from initlib import PlanError, he_normal, keep, parts, zeros
from initlib.adapters import keras as adapter

pytestmark = quiet


class Subclassed(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.first = layers.Dense(6)
        self.blocks = [layers.Dense(6) for _ in range(2)]
        self.inner = inner
        self.by_key = {"head": layers.Dense(2, name="head")}
        self.drop = layers.Dropout(0.5)
        self.free = self.add_weight(shape=(6,), initializer="ones", name="free")

    def call(self, x):
        for layer in (self.first, *self.blocks, *self.blocks, self.drop, self.inner):
            x = layer(x)
        return self.by_key["head"](x * self.free)


def nested():
    inner = sequential(layers.Dense(6), layers.LayerNormalization())
    model = Subclassed(inner)
    model(np.ones((2, 6), "float32"))
    return model


def test_nested_and_subclassed_models_are_filled():
    model = nested()
    plan = adapter.initialize(model, seed=0)
    check(model, plan)
    kernels = ["dense", "dense_1", "dense_2", "sequential.dense", "head"]
    assert [name for name in by_name(model) if name.endswith("kernel")] == [f"{name}.kernel" for name in kernels]
    assert plan["free"].filling == initlib.ones
    assert adapter.plan(model.inner).entries[0].parameter.name == "dense.kernel"


def test_functional_models_may_be_nested():
    inner = keras.Model(x := keras.Input((6,)), layers.Dense(6, name="same")(x), name="encoder")
    outputs = layers.Dense(2, name="same")(inner(inner(y := keras.Input((6,)))))
    model = keras.Model(y, outputs)
    assert list(by_name(model)) == ["encoder.same.kernel", "encoder.same.bias", "same.kernel", "same.bias"]
    check(model, adapter.initialize(model, he_normal, seed=0))


def test_tied_weights_stay_tied():
    class Tied(keras.Model):
        def __init__(self):
            super().__init__()
            self.embed = layers.Embedding(7, 4, name="embed")
            self.embed.build(None)
            self.again = layers.Dense(4, name="again")
            self.once_more = self.again
            self.table = self.embed.embeddings

        def call(self, x):
            return keras.ops.matmul(self.once_more(self.again(self.embed(x))), keras.ops.transpose(self.table))

    model = Tied()
    model(np.zeros((1, 3), "int32"))
    plan = adapter.initialize(model, he_normal, seed=0)
    assert plan["embed.embeddings"].parameter.tied == ("embeddings",)
    assert plan["embeddings"] is plan["embed.embeddings"]
    assert len(plan.entries) == 3
    check(model, plan)


def test_a_single_layer_can_be_initialized():
    layer = layers.Dense(3)
    layer.build((None, 6))
    adapter.initialize(layer, he_normal, seed=0)
    assert np.array_equal(values(layer.kernel), he_normal((6, 3), seed=0, name="kernel"))


# Keras takes most of a minute to build a large one on JAX.
@pytest.mark.parametrize("name", ["MobileNet", *(["EfficientNetB0", "ConvNeXtTiny"] if BACKEND == "torch" else [])])
def test_networks_of_keras_applications_are_filled(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3), classes=10)
    plan = adapter.initialize(model, seed=0)
    check(model, plan)
    depthwise = [entry for entry in plan.entries if entry.parameter.owner == "DepthwiseConv2D"]
    assert all(initlib.fans(entry.parameter.shape, entry.parameter.axes)[0] < 50 for entry in depthwise)
    assert all(np.isfinite(values(variable)).all() for variable in model.weights)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes_of_variables_are_kept(dtype):
    model = sequential(layers.Dense(4, dtype=dtype), layers.Conv1D(3, 2, dtype=dtype), shape=LINE)
    plan = adapter.initialize(model, seed=0)
    assert {entry.parameter.dtype for entry in plan.entries} == {dtype}
    check(model, plan)


def test_mixed_precision_is_supported():
    model = sequential(layers.Dense(4, dtype="mixed_bfloat16"))
    plan = adapter.initialize(model, seed=0)
    assert plan["dense.kernel"].parameter.dtype == "float32"
    check(model, plan)


def test_kept_weights_and_parts_stay():
    model = sequential(layers.Dense(4, name="old"), layers.Dense(4, name="new"))
    before = weights_of(model)
    half = parts({"new.kernel": (1, keep), "other.kernel": (1, he_normal)}, axis=1, replaces=2)
    adapter.initialize(model, {"old.*": keep, "new.kernel": half}, seed=0)
    after = weights_of(model)
    assert np.array_equal(before[0], after[0])
    assert np.array_equal(before[2][:, :2], after[2][:, :2])
    assert np.array_equal(after[2][:, 2:], he_normal((4, 2), seed=0, name="other.kernel"))


def test_only_and_prefix_select_and_name_weights():
    model = sequential(layers.Dense(4, name="old"), layers.Dense(4, name="new"))
    model.layers[0].trainable = False  # unselected layers may be frozen
    before = weights_of(model)
    plan = adapter.initialize(model, he_normal, 0, only="*.new.*", prefix="decoder")
    after = weights_of(model)
    assert np.array_equal(before[0], after[0])
    assert np.array_equal(after[2], he_normal((4, 4), seed=0, name="decoder.new.kernel"))
    assert plan["decoder.old.kernel"].notes == ("not selected by only",)
    with pytest.raises(
        ValueError, match=r"only must name parameters or buffers, got 'new\.kernl'; nearest names: new\.kernel"
    ):
        adapter.plan(model, he_normal, only=["new.kernl"])


def test_models_can_be_saved_and_loaded(tmp_path):
    model = keras.Sequential(
        [keras.Input(LINE), layers.Dense(6), layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)]
    )
    plan = adapter.initialize(model, he_normal, seed=0)
    inputs = np.ones((2, *LINE), "float32")
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    check(loaded, plan)
    assert np.array_equal(values(loaded(inputs)), values(model(inputs)))
    assert adapter.plan(loaded, he_normal) == plan  # names do not depend on what was made before
    adapter.initialize(loaded, he_normal, seed=1)
    loaded.load_weights(tmp_path / "model.weights.h5")
    check(loaded, plan)


def test_unbuilt_models_are_errors():
    words = r"is not built, and has no weights yet. Call model\.build\(input_shape\), or call the model on a batch"
    with pytest.raises(PlanError, match=f"the model {words}"):
        adapter.initialize(keras.Sequential([layers.Dense(3)]), seed=0)

    class Unused(keras.Model):
        def __init__(self):
            super().__init__()
            self.used, self.unused = layers.Dense(2), layers.Dense(3)

        def call(self, x):
            return self.used(x)

    model = Unused()
    with warnings.catch_warnings(action="ignore"):  # Keras sees it too
        model(np.ones((2, 6), "float32"))
    with pytest.raises(PlanError, match=rf"dense_1: Dense {words}"):
        adapter.plan(model)
    with pytest.raises(TypeError, match=r"model must be a keras\.Model or another keras\.Layer, got int"):
        adapter.plan(3)


def test_nothing_is_written_after_an_error():
    model = sequential(layers.Dense(4), layers.Dense(2))
    before = weights_of(model)
    for rules, words in (
        ({"dense.bais": zeros}, "nearest names: dense.bias"),
        ({"dense.*": initlib.values([1.0])}, "must have shape"),
    ):
        with pytest.raises(PlanError, match=words):
            adapter.initialize(model, rules, seed=0)
    with pytest.raises(TypeError, match="seed must be an int, a Key"):
        adapter.initialize(model, seed="0")
    for one, other in zip(before, weights_of(model), strict=True):
        assert np.array_equal(one, other)


def test_unmatched_weights_can_be_kept():
    model = sequential(layers.Dense(4, name="body"), layers.Dense(2, name="head"))
    before = weights_of(model)
    plan = adapter.initialize(model, {"head.kernel": he_normal}, seed=0, unmatched="keep")
    assert plan["body.kernel"].notes == ("no rule matches",)
    assert np.array_equal(before[0], weights_of(model)[0])
    assert np.array_equal(weights_of(model)[2], he_normal((4, 2), seed=0, name="head.kernel"))

"""Initializers in layers of Keras, and in saved models."""

import json

import keras
import numpy as np
import pytest
from keras_backend import equal, quiet, values

import initlib
from initlib.adapters import keras as adapter

pytestmark = quiet

LAYERS = {
    "dense": lambda i: (keras.layers.Dense(6, kernel_initializer=i), (2, 5)),
    "conv": lambda i: (keras.layers.Conv2D(6, 3, kernel_initializer=i), (2, 8, 8, 3)),
    "transposed": lambda i: (keras.layers.Conv2DTranspose(6, 3, kernel_initializer=i), (2, 8, 8, 3)),
    "depthwise": lambda i: (keras.layers.DepthwiseConv2D(3, depthwise_initializer=i), (2, 8, 8, 3)),
    "separable": lambda i: (
        keras.layers.SeparableConv2D(6, 3, depthwise_initializer=i, pointwise_initializer=i),
        (2, 8, 8, 3),
    ),
    "einsum": lambda i: (keras.layers.EinsumDense("abc,cde->abde", (None, 4, 8), kernel_initializer=i), (2, 3, 5)),
    "lstm": lambda i: (keras.layers.LSTM(4, kernel_initializer=i, recurrent_initializer=i), (2, 3, 5)),
    "gru": lambda i: (keras.layers.GRU(4, kernel_initializer=i, recurrent_initializer=i), (2, 3, 5)),
    "embedding": lambda i: (keras.layers.Embedding(7, 4, embeddings_initializer=i), (2, 3)),
}


INITIALIZERS = {
    "int": lambda: adapter.HeNormal(seed=0),
    "none": lambda: adapter.GlorotUniform(),
    "generator": lambda: adapter.LecunNormal(seed=keras.random.SeedGenerator(1)),
    "core": lambda: adapter.CoreInitializer(initlib.orthogonal(), seed=0),
    "bare": lambda: initlib.he_normal,
}


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "bfloat16", "mixed_float16", "float16"])
@pytest.mark.parametrize("initializer", INITIALIZERS)
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_draw_by_the_initializers(layer, initializer, policy):
    if policy != "float32" and layer not in ("dense", "conv"):
        return
    made, shape = LAYERS[layer](INITIALIZERS[initializer]())
    config = {**made.get_config(), "dtype": policy}
    made = type(made).from_config(json.loads(json.dumps({**config, "dtype": policy})))
    made.build(shape)
    kernel = made.weights[0]
    assert np.isfinite(values(kernel.value)).all()
    assert values(kernel.value).std() > 0
    assert kernel.dtype == ("float32" if policy.startswith("mixed") else policy)
    if initializer == "int" and layer in ("dense", "conv", "lstm"):
        assert equal(kernel.value, initlib.he_normal(tuple(kernel.shape), kernel.dtype, seed=0))
    if initializer == "int" and layer == "einsum":
        assert equal(kernel.value, initlib.he_normal(tuple(kernel.shape), axes="IOO", seed=0))
    if initializer == "core" and layer == "einsum":
        assert equal(kernel.value, initlib.orthogonal()(tuple(kernel.shape), axes="IOO", seed=0))


def attention(initializer):
    layer = keras.layers.MultiHeadAttention(4, 8, kernel_initializer=initializer)
    layer.build((None, 10, 32), (None, 10, 32))
    dense = {"q": layer.query_dense, "k": layer.key_dense, "v": layer.value_dense, "o": layer.output_dense}
    return {name: part.kernel.value for name, part in dense.items()}


def test_attention_clones_its_initializer():
    kernels = attention(adapter.HeNormal(seed=3))
    for name in "qkv":  # an int repeats, as in Keras
        assert equal(kernels[name], initlib.he_normal((32, 4, 8), axes="IOO", seed=3))
    assert equal(kernels["o"], initlib.he_normal((4, 8, 32), axes="IIO", seed=3))
    for free in (
        adapter.HeNormal(),
        adapter.CoreInitializer(initlib.orthogonal()),
        initlib.he_normal,
        initlib.sparse(0.1),
    ):
        kernels = attention(free)
        assert not np.array_equal(values(kernels["q"]), values(kernels["k"]))
    whole = values(attention(adapter.CoreInitializer(initlib.orthogonal(), seed=1))["o"]).reshape(32, 32)
    np.testing.assert_allclose(whole @ whole.T, np.eye(32), atol=1e-5)


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_saved_models_load_with_equal_initializers(initializer, tmp_path):
    make = INITIALIZERS[initializer]
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, kernel_initializer=make())(inputs)
    x = keras.layers.Reshape((36, 4))(x)
    x = keras.layers.MultiHeadAttention(2, 4, kernel_initializer=make())(x, x)
    model = keras.Model(inputs, keras.layers.Dense(2, kernel_initializer=make())(x))
    batch = np.arange(2 * 8 * 8 * 3, dtype="float32").reshape(2, 8, 8, 3) / 384
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    assert np.array_equal(values(model(batch)), values(loaded(batch)))
    again = keras.models.model_from_json(model.to_json())
    again.build(model.input_shape)
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]
    assert type(again.layers[1].kernel_initializer) is type(model.layers[1].kernel_initializer)
    if initializer in ("int", "core"):
        for first, second in zip(model.weights, again.weights, strict=True):
            assert np.array_equal(values(first.value), values(second.value))
    model.save_weights(tmp_path / "w.weights.h5")
    again.load_weights(tmp_path / "w.weights.h5")
    assert np.array_equal(values(model(batch)), values(again(batch)))

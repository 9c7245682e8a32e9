"""Models on several devices: replicas and shards."""

import keras
import numpy as np
from keras import layers
from keras_backend import check, only, quiet, sequential, values, weights_of

from initlib import he_normal, keep, parts
from initlib.adapters import keras as adapter

pytestmark = quiet


@only["tensorflow"]
def test_mirrored_variables_are_filled():
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        model = sequential(layers.Dense(4), layers.BatchNormalization())
    half = parts({"kept": (1, keep), "drawn": (1, he_normal)}, axis=1, replaces=2)
    before = values(model.layers[0].kernel)
    adapter.initialize(model, {"dense.kernel": half}, seed=0)
    assert np.array_equal(values(model.layers[0].kernel)[:, :2], before[:, :2])
    check(model, adapter.initialize(model, seed=0))


@only["jax"]
def test_replicas_of_data_parallel_training_are_equal():
    import jax

    keras.distribution.set_distribution(keras.distribution.DataParallel())
    try:
        model = sequential(layers.Dense(16), layers.BatchNormalization())
        plan = adapter.initialize(model, he_normal, seed=1)
        kernel = model.layers[0].kernel.value
        assert len(kernel.sharding.device_set) == len(jax.devices()) == 8
        assert all(np.array_equal(shard.data, kernel) for shard in kernel.addressable_shards)
        check(model, plan, 1)
        model.compile("sgd", "mse")
        model.fit(np.ones((8, 6), "float32"), np.ones((8, 16), "float32"), verbose=0)
    finally:
        keras.distribution.set_distribution(None)


@only["jax"]
def test_each_device_draws_only_its_shard():
    import jax

    mesh = keras.distribution.DeviceMesh((4, 2), ("batch", "model"))
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*kernel"] = keras.distribution.TensorLayout(["batch", "model"])
    with keras.distribution.ModelParallel(layout_map=layout).scope():
        model = sequential(layers.Dense(64), layers.LSTM(16), shape=(8, 32))
        plan = adapter.initialize(model, seed=0)
        kernel = model.layers[0].kernel.value
        assert {shard.data.shape for shard in kernel.addressable_shards} == {(8, 32)}
        assert len(kernel.sharding.device_set) == 8
        check(model, plan)
        before = kernel.sharding
        adapter.initialize(model, he_normal, seed=1)
        assert model.layers[0].kernel.value.sharding == before
    alone = sequential(layers.Dense(64), layers.LSTM(16), shape=(8, 32))
    adapter.initialize(alone, he_normal, seed=1)
    for one, other in zip(weights_of(model), weights_of(alone), strict=True):
        assert np.array_equal(one, other)
    assert not alone.layers[0].kernel.value.committed
    assert len(jax.devices()) == 8

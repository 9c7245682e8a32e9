"""Draws of several devices: replicas and shards."""

import keras
import numpy as np
import pytest
from keras_backend import equal, only, quiet
from keras_initializers import jitted

import initlib
from initlib import Key
from initlib.adapters import keras as adapter

pytestmark = quiet


@only["tensorflow"]
def test_every_replica_has_the_weights():
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for seed, key in ((5, 5), (keras.random.SeedGenerator(5), Key(5).fold_in(0))):
        with strategy.scope():
            layer = keras.layers.Dense(5, kernel_initializer=adapter.HeNormal(seed=seed))
            layer.build((None, 4))
        replicas = strategy.experimental_local_results(layer.kernel.value)
        assert len(replicas) == 2
        for replica in replicas:
            assert equal(replica, initlib.he_normal((4, 5), seed=key))


@only["jax"]
@pytest.mark.parametrize("shape", [(64, 32), (8, 3, 16, 8)])
def test_each_device_draws_only_its_shard(shape):
    import jax

    mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(4, 2), ("a", "b"))
    expected = initlib.he_normal(shape, seed=5)
    last = len(shape) - 1
    for where in ({last: "a"}, {0: "a", last: "b"}, {0: ("b", "a")}):
        spec = jax.sharding.PartitionSpec(*(where.get(axis) for axis in range(len(shape))))
        program = jitted(adapter.HeNormal(seed=5), shape, jax.sharding.NamedSharding(mesh, spec))
        weight = program()
        assert weight.sharding.spec == spec
        assert equal(weight, expected)
        memory = program.memory_analysis()
        shard = weight.addressable_shards[0].data.nbytes
        assert memory.output_size_in_bytes == shard
        assert memory.temp_size_in_bytes < shard
        text = program.as_text()
        assert not any(word in text for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute"))


@only["jax"]
@pytest.mark.parametrize("shape", [(64, 32), (4096, 2048)], ids=["small", "large"])  # Keras jits above 250 MiB
def test_sharded_variables_have_the_bits_of_one_device(shape):
    mesh = keras.distribution.DeviceMesh((4, 2), ("batch", "model"))
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*kernel"] = keras.distribution.TensorLayout(["batch", "model"])
    others = () if shape[0] > 64 else (adapter.get(initlib.he_normal * 2), initlib.he_normal)
    for initializer in (adapter.HeNormal(seed=5), *others):
        with keras.distribution.ModelParallel(layout_map=layout).scope():
            variable = keras.Variable(initializer, shape=shape, dtype="float32", name="kernel")
        assert {shard.data.shape for shard in variable.value.addressable_shards} == {(shape[0] // 4, shape[1] // 2)}
        if isinstance(initializer, adapter.HeNormal):
            assert equal(variable.value, initlib.he_normal(shape, seed=5))

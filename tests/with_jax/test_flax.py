import jax
import numpy as np
import pytest

import initlib

pytest.importorskip("flax")
from flax import linen, nnx

import initlib.adapters.jax as init

KEY = jax.random.key(5)
IMAGE = np.ones((1, 4, 4, 3), np.float32)


def kernel(layer, inputs):
    return layer.init(KEY, inputs)["params"]["kernel"]


def test_linen_draws_the_bits_of_the_core_under_the_key_of_the_layer():
    plain = kernel(linen.Dense(4, kernel_init=init.he_normal()), IMAGE[0, 0])
    drawn = []
    linen.Dense(4, kernel_init=lambda key, *args: drawn.append(key) or init.he_normal()(key, *args)).init(KEY, IMAGE)
    seed = int.from_bytes(np.asarray(jax.random.key_data(drawn[0])).astype(">u4").tobytes(), "big")
    assert np.array_equal(plain, initlib.he_normal((3, 4), seed=seed))


def test_linen_draws_by_name():
    named = init.he_normal(seed=5, name="conv")
    layer = linen.Conv(4, (3, 3), kernel_init=named, param_dtype="bfloat16")
    expected = initlib.he_normal((3, 3, 3, 4), "bfloat16", seed=5, name="conv")
    assert np.array_equal(kernel(layer, IMAGE), expected)
    assert layer == linen.Conv(4, (3, 3), kernel_init=init.he_normal(seed=5, name="conv"), param_dtype="bfloat16")
    assert hash(layer) is not None
    jitted = jax.jit(layer.init)(KEY, IMAGE)["params"]["kernel"]
    assert np.array_equal(jitted, expected)
    shapes = jax.eval_shape(layer.init, KEY, IMAGE)
    assert shapes["params"]["kernel"].shape == (3, 3, 3, 4)


def test_linen_draws_partitioned_embedding_and_orthogonal_weights():
    partitioned = linen.with_partitioning(init.he_normal(seed=5), ("x", None))
    boxed = kernel(linen.Dense(4, kernel_init=partitioned), IMAGE)
    assert boxed.names == ("x", None)
    assert np.array_equal(boxed.value, initlib.he_normal((3, 4), seed=5))
    scheme = init.variance_scaling(1.0, "fan_in", "normal", out_axis=0, seed=5)  # Flax's own, of embeddings
    table = linen.Embed(10, 4, embedding_init=scheme).init(KEY, np.zeros(1, int))["params"]["embedding"]
    assert np.array_equal(table, initlib.normal(std=0.5)((10, 4), seed=5))
    cell = linen.LSTMCell(8, recurrent_kernel_init=init.orthogonal())
    recurrent = cell.init(KEY, cell.initialize_carry(KEY, (3,)), np.ones(3, np.float32))["params"]["hi"]["kernel"]
    assert np.allclose(recurrent.T @ recurrent, np.eye(8), atol=1e-5)


def test_nnx_draws_the_bits_of_the_core():
    linear = nnx.Linear(3, 4, kernel_init=init.he_normal(seed=5, name="dense"), rngs=nnx.Rngs(0))
    assert np.array_equal(linear.kernel[...], initlib.he_normal((3, 4), seed=5, name="dense"))
    heads = nnx.LinearGeneral(6, (2, 4), kernel_init=init.glorot_uniform(seed=5), rngs=nnx.Rngs(0))
    assert np.array_equal(heads.kernel[...], initlib.glorot_uniform((6, 2, 4), seed=5, axes="IOO"))
    abstract = nnx.eval_shape(lambda: nnx.Conv(3, 4, (3, 3), kernel_init=init.he_normal(), rngs=nnx.Rngs(0)))
    assert abstract.kernel.shape == (3, 3, 3, 4)

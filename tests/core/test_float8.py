"""Weights of eight bits: drawn by the reference, rounded once from float32, never saturated."""

import numpy as np
import pytest

from initlib import constant, glorot_uniform, he_normal, normal, truncated_normal, uniform

INITIALIZERS = [he_normal, glorot_uniform, normal(0.5), uniform(-0.3, 0.2), truncated_normal()]


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_float8_weights_are_float32_weights_rounded_once(initializer, dtype):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    shape = (64, 32)
    low, high = initializer.bounds(shape)
    drawn = initializer(shape, dtype, seed=3)
    rounded = initializer(shape, seed=3).astype(getattr(ml_dtypes, dtype))
    inside = (rounded.astype(float) >= low) & (rounded.astype(float) <= high)
    assert inside.mean() > 0.8
    assert (drawn == rounded)[inside].all()
    assert ((drawn.astype(float) >= low) & (drawn.astype(float) <= high)).all()
    box = initializer(shape, dtype, seed=3, index=(slice(5, 9), 3))
    assert (box == drawn[5:9, 3]).all()


@pytest.mark.parametrize(("dtype", "largest"), [("float8_e4m3fn", 448.0), ("float8_e5m2", 57344.0)])
def test_float8_weights_never_saturate(dtype, largest):
    pytest.importorskip("ml_dtypes")
    drawn = uniform(-largest, largest)((100, 100), dtype, seed=0).astype(float)
    assert np.isfinite(drawn).all()
    assert np.abs(drawn).max() == largest
    for initializer in (uniform(-2 * largest, 2 * largest), normal(std=largest / 5), constant(2 * largest)):
        with pytest.raises(ValueError, match=f"overflow {dtype}"):
            initializer((4, 4), dtype)
    with pytest.raises(ValueError, match=f"underflow {dtype}"):
        normal(std=1e-8)((4, 4), dtype)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_pytorch_draws_the_bits_of_the_core(dtype):
    torch = pytest.importorskip("torch")
    from initlib.adapters.torch import he_normal_

    tensor = he_normal_(torch.empty(32, 64, dtype=getattr(torch, dtype)), seed=0, name="w")
    expected = he_normal((32, 64), dtype, axes="OI", seed=0, name="w")
    assert np.array_equal(tensor.view(torch.uint8).numpy(), expected.view(np.uint8))


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
def test_jax_draws_the_bits_of_the_core(dtype):
    jax = pytest.importorskip("jax")
    from initlib.adapters.jax import he_normal as of_jax

    expected = he_normal((64, 32), dtype, seed=0).view(np.uint8)
    for draw in (of_jax(), jax.jit(of_jax(), static_argnums=(1, 2))):
        assert np.array_equal(np.asarray(draw(jax.random.key(0), (64, 32), dtype)).view(np.uint8), expected)

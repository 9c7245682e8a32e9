import jax
import numpy as np
import pytest

import initlib
import initlib.adapters.jax
from initlib.adapters.jax.drawing.draw import draw

RECORDS = [
    (initlib.he_normal, (64, 32, 3, 3), "OIHW"),
    (initlib.glorot_uniform, (12, 5, 3), "(2 (3 O))IK"),
    (initlib.lecun_normal, (7, 1000), "OI"),
    (initlib.normal(std=2.0), (3, 3, 32, 2), "HWBO"),
    (initlib.truncated_normal(low=-1.0, high=0.5), (100,), None),
    (initlib.uniform(-1.0, 1.0), (), None),
    (initlib.constant(0.3), (3, 2), None),
    (initlib.he_uniform, (0, 3), "OI"),
]


@pytest.fixture(params=["float32", "float16", "bfloat16", "float64"])
def dtype(request):
    if request.param != "float64":
        yield request.param
    else:
        with jax.enable_x64(True):
            yield request.param


@pytest.mark.filterwarnings("ignore:shape .* holds no weights")
@pytest.mark.parametrize(("initializer", "shape", "axes"), RECORDS)
def test_kernel_and_traced_draws_have_the_bits_of_the_core(initializer, shape, axes, dtype):
    traced = jax.jit(draw, static_argnums=(0, 2, 3, 4))
    for seed in (7, 2**64 - 3):
        words = np.array([seed >> 32, seed & 0xFFFFFFFF], np.uint32)
        expected = initializer(shape, dtype, axes=axes, seed=seed)
        for draws in (draw, traced):
            weight = draws(initializer, words, shape, dtype, axes)
            assert isinstance(weight, jax.Array)
            assert weight.dtype == expected.dtype
            assert weight.shape == shape
            assert np.asarray(weight).tobytes() == expected.tobytes()


@pytest.mark.parametrize("shape", [(4, 6), (512, 512)])
def test_a_draw_without_jit_is_a_jax_array(shape):
    with jax.disable_jit():
        weight = initlib.adapters.jax.he_normal()(jax.random.key(3), shape)
    assert isinstance(weight, jax.Array)
    assert np.array_equal(weight, initlib.he_normal(shape, seed=3))

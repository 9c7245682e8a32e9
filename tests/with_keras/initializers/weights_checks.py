"""Weights of the initializers: the bits of the core, for every shape, axes and dtype."""

import keras
import numpy as np
import pytest
from keras_backend import BACKEND, equal, only, quiet, values
from keras_initializers import ELEMENTWISE, RANDOM

import initlib
from initlib.adapters import keras as adapter

pytestmark = quiet


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("shape", "axes"), [((20, 30), None), ((3, 3, 8, 16), "HWIO"), ((3, 3, 16, 8), "HWOI")])
@pytest.mark.parametrize("case", RANDOM)
def test_weights_are_those_of_the_core(case, shape, axes, dtype):
    make, core = RANDOM[case]
    initializer = make(seed=5, axes=axes)
    assert initializer.core == core
    weight = initializer(shape, dtype)
    assert keras.ops.is_tensor(weight)
    assert keras.backend.standardize_dtype(weight.dtype) == dtype
    assert equal(weight, core(shape, dtype, seed=5, axes=axes))


@pytest.mark.parametrize("shape", [(), (1,), (7,), (1, 1), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("case", ELEMENTWISE)
def test_any_shape_is_drawn(case, shape):
    make, core = RANDOM[case]
    assert equal(make(seed=2**64 - 1)(shape), core(shape, seed=2**64 - 1))
    assert equal(make(seed=0)(list(shape), dtype=None), core(shape, seed=0))


def test_an_empty_weight_is_drawn():
    with pytest.warns(UserWarning, match="holds no weights"):
        assert tuple(adapter.HeNormal(seed=0)((0, 5)).shape) == (0, 5)


def test_dtypes_of_keras_are_drawn():
    wide = adapter.HeNormal(seed=0)((4, 5), "float64")
    dtype = "float32" if BACKEND == "jax" else "float64"  # JAX's 64 bits are off
    assert equal(wide, initlib.he_normal((4, 5), dtype, seed=0))
    before = keras.config.floatx()
    keras.config.set_floatx("bfloat16")
    try:
        assert equal(adapter.HeNormal(seed=0)((4, 5)), initlib.he_normal((4, 5), "bfloat16", seed=0))
    finally:
        keras.config.set_floatx(before)
    with pytest.raises(TypeError, match=r"dtype must be one of float16, bfloat16, .* got 'int32'"):
        adapter.RandomUniform(0, 10, seed=0)((4, 5), "int32")


def test_a_truncated_normal_of_std_0_is_its_mean():
    assert equal(adapter.TruncatedNormal(2.0, 0.0, seed=0)((2, 3)), np.full((2, 3), 2.0))


@pytest.mark.parametrize(
    ("shape", "inputs", "outputs", "axes"),
    [
        ((64, 4, 16), [0], [1, 2], "IOO"),
        ((4, 16, 64), [0, 1], [2], "IIO"),
        ((4, 16, 64), [0, -2], [-1], "IIO"),
        ((5, 16, 64), [1], [2], "BIO"),
        ((5, 16, 64), [0, 1], [0, 2], "HIO"),
        ((64,), [], [0], "O"),
    ],
)
def test_axes_of_keras_become_letters(shape, inputs, outputs, axes):
    for mode in ("fan_in", "fan_out", "fan_avg"):
        initializer = adapter.VarianceScaling(2.0, mode, seed=1, input_axes=inputs, output_axes=outputs)
        assert equal(initializer(shape), initlib.variance_scaling(2.0, mode)(shape, seed=1, axes=axes))
    both = adapter.HeNormal(seed=1, input_axes=inputs, output_axes=outputs, axes="...O")
    assert both._axes(len(shape)) == both.axes
    assert adapter.HeNormal(seed=1, input_axes=inputs)._axes(len(shape)) is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_variance_follows_the_formula(dtype):
    for initializer, kurtosis in ((adapter.HeNormal(seed=1), 2.3655367), (adapter.HeUniform(seed=1), 1.8)):
        drawn = values(initializer((1024, 1024), dtype))
        wanted = (2 / 1024) ** 0.5
        assert abs(drawn.mean()) < 7.13 * wanted / 1024
        assert abs(drawn.std() / wanted - 1) < 7.13 * (kurtosis - 1) ** 0.5 / 2 / 1024


@pytest.mark.parametrize("given", ["name", "numpy", "backend"])
def test_dtypes_and_shapes_of_the_backend_are_accepted(given):
    dtype = {"name": "float16", "numpy": np.float16, "backend": keras.ops.ones((), "float16").dtype}[given]
    shape = keras.ops.ones((4, 5)).shape  # a TensorShape, a torch.Size or a tuple
    weight = adapter.HeNormal(seed=1)(shape=shape, dtype=dtype)
    assert equal(weight, initlib.he_normal((4, 5), "float16", seed=1))


@only["torch"]
def test_pytorch_takes_over_the_memory_of_the_draw(monkeypatch):
    import torch

    held = []
    from_numpy = torch.from_numpy
    monkeypatch.setattr(torch, "from_numpy", lambda array: held.append(array.ctypes.data) or from_numpy(array))
    for dtype in ("float32", "bfloat16"):
        assert adapter.HeNormal(seed=1)((64, 64), dtype).data_ptr() == held[-1]

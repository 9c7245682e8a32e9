import math

import numpy as np
import pytest

from initlib import zero_hadamard


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (1, 2), (3, 3), (7, 4), (4, 7), (5, 8), (8, 16), (10, 100)])
def test_weights_equal_the_hadamard_matrix(inputs, outputs, dtype):
    linalg = pytest.importorskip("scipy.linalg")
    size = 2 ** math.ceil(math.log2(outputs))
    many = linalg.hadamard(size)[:inputs, :outputs] * math.sqrt(1 / size)
    expected = np.eye(inputs, outputs) if outputs <= inputs else many
    weight = zero_hadamard()((inputs, outputs), dtype)
    assert (weight == expected.astype(weight.dtype)).all()
    kernel = zero_hadamard()((3, 2, inputs, outputs), dtype)
    assert (kernel[1, 1] == weight).all()
    assert (kernel != 0).sum() == (weight != 0).sum()


def test_a_power_of_two_keeps_norms():
    weight = zero_hadamard(2.0)((20, 64), "float64", axes="IO")
    assert np.allclose(weight @ weight.T, 4 * np.eye(20), atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 6, 17), (5, 13), (1, 9), (2, 3, 31, 32), (7, 4), (4, 1, 2), (1, 1)], ids=str)
def test_std_and_bounds_are_those_of_the_weights(shape):
    weight = zero_hadamard(-1.5)(shape, "float64")
    assert zero_hadamard(-1.5).std(shape) == pytest.approx(weight.std(), rel=1e-12, abs=1e-15)
    low, high = zero_hadamard(-1.5).bounds(shape)
    assert low <= weight.min()
    assert weight.max() <= high


def test_a_weight_of_one_axis_is_an_error():
    with pytest.raises(ValueError, match="shape must have at least 2 axes for zero_hadamard"):
        zero_hadamard()(3)
    assert zero_hadamard() * 2 == zero_hadamard(2)
    assert zero_hadamard().std((2**30, 2**33)) == pytest.approx(2**-16.5, rel=1e-9)

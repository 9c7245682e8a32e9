import math

import numpy as np
import pytest

from initlib import siren


def test_bounds_are_those_of_the_paper():
    assert siren(first=True).bounds((2, 256)) == (-1 / 2, 1 / 2)
    assert siren(w0=10).bounds((256, 3))[1] == math.sqrt(6 / 256) / 10
    assert siren().bounds((64, 32, 3, 3), axes="OIHW")[1] == math.sqrt(6 / 288) / 30


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("scheme", [siren(), siren(first=True)], ids=repr)
def test_weights_fill_the_bounds(scheme, dtype):
    weight = scheme((256, 4096), dtype, seed=0).astype(float)
    low, high = scheme.bounds((256, 4096))
    assert low <= weight.min() < 0.99 * low
    assert 0.99 * high < weight.max() <= high
    assert weight.std() == pytest.approx(scheme.std((256, 4096)), rel=0.00311)


def test_sines_keep_their_distribution_through_the_layers():
    # Normal values of variance v before a sine give 2 E sin(z)**2 = 1 - exp(-2 v) before the next: v settles at 0.797.
    x = np.random.default_rng(0).uniform(-1, 1, (2000, 2))
    x = np.sin(30 * x @ siren(first=True)((2, 256), "float64", seed=0, name="0"))
    for layer in range(1, 6):
        before = 30 * x @ siren()((256, 256), "float64", seed=0, name=str(layer))
        x = np.sin(before)
    assert before.var() == pytest.approx(0.797, rel=0.05)


def test_wrong_arguments_are_errors():
    with pytest.raises(ValueError, match="w0 must be above 0"):
        siren(0)
    with pytest.raises(TypeError, match="first must be True or False, got 1"):
        siren(30, 1)
    with pytest.raises(ValueError, match="a fan_in above 0 for siren"):
        siren().std((0, 5))

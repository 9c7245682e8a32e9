import copy
import math
import pickle

import numpy as np
import pytest

import initlib
from initlib import (
    constant,
    dirac,
    glorot_normal,
    he_normal,
    he_uniform,
    icnr,
    normal,
    orthogonal,
    scaled,
    sparse,
    truncated_normal,
    uniform,
)

DTYPES = ["float16", "bfloat16", "float32", "float64"]
SCHEMES = [
    he_normal,
    he_uniform,
    normal(0.5, 0.02),
    truncated_normal(0.1, 0.5, -0.5, 2),
    uniform(-1, 3),
    constant(3),
    orthogonal(1.5),
    dirac(),
    sparse(0.5, 0.02),
    icnr(he_normal, 2),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_a_power_of_two_is_exact(scheme, dtype):
    weight = scheme((3, 3, 8, 16), dtype, seed=1)
    half = (scheme * 0.5)((3, 3, 8, 16), dtype, seed=1)
    assert (half.astype(float) == weight.astype(float) * 0.5).mean() > (0.99 if dtype == "float16" else 0.99999)
    assert np.allclose(half.astype(float), weight.astype(float) * 0.5, atol=2e-7)  # subnormals of float16


@pytest.mark.parametrize("scheme", SCHEMES, ids=repr)
def test_std_and_bounds_scale_with_the_factor(scheme):
    shape = (3, 3, 8, 16)
    assert (scheme * 0.3).std(shape) == pytest.approx(0.3 * scheme.std(shape), rel=1e-12)
    assert (scheme * 0.3).bounds(shape) == pytest.approx([0.3 * bound for bound in scheme.bounds(shape)], rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_weight_is_rounded_once(dtype):
    assert (scaled(uniform(-1, 1), 0.3)(1000, dtype, seed=2) == uniform(-0.3, 0.3)(1000, dtype, seed=2)).all()
    assert (scaled(normal(0, 0.1), 3)(1000, dtype, seed=2) == normal(0, 0.1 * 3)(1000, dtype, seed=2)).all()
    inside = scaled(truncated_normal(std=0.1), 0.7)(10000, dtype, seed=2).astype(float)
    assert np.abs(inside).max() <= 0.14
    whole = he_normal((64, 64), "float64", seed=2)
    assert (scaled(he_normal, 0.7)((64, 64), "float64", seed=2) == whole * 0.7).mean() > 0.3
    assert np.abs(scaled(he_normal, 0.7)((64, 64), "float64", seed=2) / (whole * 0.7) - 1).max() < 3e-16


def test_the_operator_is_the_function():
    assert he_normal * 0.5 == 0.5 * he_normal == np.float32(0.5) * he_normal == scaled(he_normal, 0.5)
    assert he_normal * 0.5 * 0.5 == he_normal * 0.25
    assert hash(he_normal * 0.5) == hash(scaled(he_normal, 0.5))
    assert he_normal * 0.5 != he_normal * 0.25
    assert orthogonal(3) * 2 == orthogonal(6)
    assert constant(3) * 2 == constant(6)
    assert sparse(0.5, 0.25) * 2 == sparse(0.5, 0.5)
    assert np.float64(2) * orthogonal() == orthogonal(2)


def test_a_repr_is_the_call_that_makes_it():
    for scheme in SCHEMES:
        assert eval(repr(scheme * 0.3), vars(initlib)) == scheme * 0.3
    assert repr(normal() * 0.5) == "scaled(initializer=normal(mean=0.0, std=1.0), factor=0.5)"


def test_a_scaled_initializer_can_be_copied_and_pickled():
    for scheme in SCHEMES:
        assert pickle.loads(pickle.dumps(scheme * 0.3)) == copy.deepcopy(scheme * 0.3) == scheme * 0.3


def test_a_box_equals_the_box_of_the_full_weight():
    index = (0, slice(None), slice(1, 7, 3), slice(None, None, -1))
    for scheme in SCHEMES:
        whole = (scheme * 0.3)((3, 3, 8, 16), seed=1)
        assert ((scheme * 0.3)((3, 3, 8, 16), seed=1, index=index) == whole[index]).all()


def test_the_factor_may_be_zero():
    for scheme in SCHEMES:
        assert ((scheme * 0)((3, 3, 8, 16), seed=1) == 0).all()
        assert (scheme * 0).std((3, 3, 8, 16)) == 0
    assert (normal() * 0).bounds(3) == (0, 0)


def test_scaled_presets_are_the_published_schemes():
    layers, shape = 12, (768, 768)
    assert (normal(std=0.02) * (2 * layers) ** -0.5).std(shape) == 0.02 / math.sqrt(24)
    assert (glorot_normal * (8 * layers) ** -0.25).std(shape) == pytest.approx(768**-0.5 / 96**0.25)


def test_wrong_factors_and_initializers_are_errors():
    for wrong in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match="factor must be"):
            he_normal * wrong
    for wrong in ("2", None, 1j, np.ones(3), he_normal):
        with pytest.raises(TypeError, match="factor must be a real number"):
            he_normal * wrong
    with pytest.raises(TypeError, match="initializer must be an initlib initializer, got 2"):
        scaled(2, 2)
    with pytest.raises(ValueError, match="overflow float16"):
        (normal() * 1e30)(3, "float16", seed=0)

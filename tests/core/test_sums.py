"""Sums of old weights, values and noise."""

import ml_dtypes
import numpy as np
import pytest
from old_weights import OLD, drawn, weight

from initlib import PlanError, he_normal, keep, loaded, normal, values


def test_a_factor_and_noise():
    old = {"w": OLD["layers.0.w"]}
    noise = normal(std=0.1)((6, 8), seed=3, name="layers.0.w")
    assert np.array_equal(drawn(weight(), loaded(old, "w") * 0.3, 3), old["w"] * np.float32(0.3))
    assert np.array_equal(
        drawn(weight(), np.float64(0.5) * loaded(old, "w", scale=0.5), 3), old["w"] * np.float32(0.25)
    )
    for fill in (loaded(old, "w") + normal(std=0.1), normal(std=0.1) + loaded(old, "w")):
        assert np.array_equal(drawn(weight(), fill, 3), old["w"] + noise)
        rounded = drawn(weight(dtype="bfloat16"), fill, 3)
        assert np.array_equal(rounded, (old["w"] + noise).astype(ml_dtypes.bfloat16))


def test_terms_are_added_in_order_and_the_noise_last():
    a, b, c = (np.array([x], "float32") for x in (1e8, -1e8, 3.7))
    old = {"a": a, "b": b, "c": c}
    first, second, third = (loaded(old, name) for name in "abc")
    noise = normal()((1,), seed=0, name="w")
    assert drawn(weight("w", (1,)), normal() + first + third + second) == (a + c) + b + noise
    assert drawn(weight("w", (1,)), first + second + (third + normal())) == (a + b) + c + noise


def test_the_sum_is_in_float64_if_a_term_or_the_parameter_is():
    narrow, wide = np.array([0.1], "float32"), np.array([0.2], "float64")
    old = {"n": narrow, "w": wide}
    both = float(narrow[0]) * 0.3 + wide
    assert drawn(weight("x", (1,)), loaded(old, "n") * 0.3 + loaded(old, "w")) == both.astype("float32")
    assert drawn(weight("x", (1,)), loaded(old, "n") * 0.3 + values(wide)) == both.astype("float32")
    assert drawn(weight("x", (1,), "float64"), loaded(old, "n") * 0.3) == float(narrow[0]) * 0.3
    noise = normal()((1,), "float64", seed=0, name="x")
    assert drawn(weight("x", (1,), "float64"), loaded(old, "n") + normal()) == narrow.astype("float64") + noise


def test_values_and_noise_make_a_sum():
    noise = normal()((2,), seed=0, name="x")
    assert np.array_equal(drawn(weight("x", (2,)), values(np.float32([1, 2])) + normal()), np.float32([1, 2]) + noise)


def test_complex_weights_are_added():
    old = {"c": np.array([1 + 2j], "complex64"), "r": np.array([0.5], "float32")}
    assert drawn(weight("x", (1,), "complex64"), loaded(old, "c") * 2 + loaded(old, "r")) == np.complex64(2.5 + 4j)
    with pytest.raises(PlanError, match=r'x: loaded\(.*, "c"\) must be real for dtype float32, got complex64'):
        drawn(weight("x", (1,)), loaded(old, "c"))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda x: (x + normal()) * 2, TypeError, 'Write loaded("f", "w") * 2 + normal(mean=0.0, std=1.0) * 2'),
        (lambda x: 0.5 * (x + x), TypeError, 'Write loaded("f", "w") * 0.5 + loaded("f", "w") * 0.5'),
        (lambda x: x + normal() + he_normal, ValueError, "a sum must have at most one initializer, got normal("),
        (lambda x: x + keep, TypeError, "unsupported operand"),
        (lambda x: x + np.ones(3), TypeError, "operand"),
        (lambda x: x * "a", TypeError, "factor must be a real number, got 'a'"),
        (lambda x: x * float("nan"), ValueError, "factor must be finite, got nan"),
    ],
)
def test_what_is_no_sum(make, error, message):
    with pytest.raises(error) as caught:
        make(loaded("f", "w"))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x * 2,
        lambda x: x * 1e300,
        lambda x: x * 1e300 * 1e-300 + x,
        lambda x: x * 0.9 + x * 0.9,
        lambda x: x + values(np.float32([3e38, 0])),
    ],
)
def test_a_factor_and_a_sum_that_overflow_are_errors(make):
    old = {"w": np.array([3e38, np.inf], "float32")}
    with pytest.raises(ValueError, match="must give weights in the range of float"):
        drawn(weight("w", (2,)), make(loaded(old)))
    with pytest.raises(ValueError, match="scale must be finite, got inf"):
        loaded(old) * 1e300 * 1e300
    assert np.array_equal(drawn(weight("w", (2,)), loaded(old) * 0.5), old["w"] * np.float32(0.5))

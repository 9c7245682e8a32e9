import copy
import pickle

import ml_dtypes
import numpy as np
import pytest

from initlib import he_normal, keep, normal, orthogonal, values, zeros
from initlib.plans.fills.values import as_fill, as_rule


def test_keep_is_a_singleton():
    assert pickle.loads(pickle.dumps(keep)) is keep
    assert copy.deepcopy(keep) is keep
    assert repr(keep) == "keep"


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.arange(3), "float64"),
        ([True, False], "float64"),
        ([[1.5, 2]], "float64"),
        (np.ones(3, "float32"), "float32"),
        (np.ones(3, "float16"), "float16"),
        (np.ones(3, ">f4"), "float32"),
        (np.ones(3, ml_dtypes.bfloat16), "float64"),
        (3.0, "float64"),
    ],
)
def test_values_are_exact(array, dtype):
    made = values(array)
    assert made.array.dtype == dtype
    assert made.array.dtype.isnative
    assert (made.array == np.asarray(array).astype("float64")).all()
    assert pickle.loads(pickle.dumps(made)) == made


def test_values_are_a_copy_and_read_only():
    given = np.zeros((2, 3))[:, ::2]
    made = values(given)
    given[0, 0] = 7
    assert (made.array == 0).all()
    with pytest.raises(ValueError, match="read-only"):
        made.array[0] = 1


def test_values_are_compared_by_their_bits():
    assert values([0.0, 1]) == values([0, 1])
    assert hash(values([0.0, 1])) == hash(values([0, 1]))
    assert values([0.0]) != values([-0.0])
    assert values(np.zeros(2, "float32")) != values(np.zeros(2))
    assert values([0.0]) != zeros
    assert repr(values(np.zeros((2, 3)))) == "values(float64[2, 3])"


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (["a"], TypeError, "values must be an array of real numbers, got dtype <U1"),
        ([1j], TypeError, "values must be an array of real numbers, got dtype complex128"),
        ([None], TypeError, "values must be an array of real numbers, got dtype object"),
        ([np.nan], ValueError, "values must not be NaN, got NaN in an array of shape (1,)"),
        (np.broadcast_to(0.0, (2**24,)), ValueError, "at most 67108864 bytes, got 134217728"),
    ],
    ids=str,
)
def test_wrong_arrays_of_values_are_errors(array, error, message):
    with pytest.raises(error) as caught:
        values(array)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            np.ones(3),
            "keep, values(...), parts(...) or loaded(...), got ndarray of shape (3,). Write values(array)",
        ),
        (0.5, "got 0.5; write constant(0.5)"),
        (None, "got None"),
        ("he_normal", "got 'he_normal'"),
        (normal, "; write normal(...)"),
        (orthogonal, "; write orthogonal(...)"),
        (int, "got <class 'int'>"),
    ],
    ids=str,
)
def test_wrong_values_of_rules_are_errors(value, message):
    with pytest.raises(TypeError) as caught:
        as_rule(value, "rule")
    assert message in str(caught.value)


def test_a_function_is_a_rule_but_not_a_fill():
    def function(parameter):
        return he_normal

    assert as_rule(function, "rule") is function
    with pytest.raises(TypeError, match="must be an initializer"):
        as_fill(function, "rule")

"""Draws that cannot be made are errors before anything is drawn, of an initializer and of a plan alike."""

import re

import numpy as np
import pytest

from initlib import (
    Parameter,
    PlanError,
    constant,
    dirac,
    fans,
    glorot_uniform,
    he_normal,
    icnr,
    inverse_softplus,
    log_uniform,
    normal,
    orthogonal,
    plan,
    siren,
    sparse,
    spectral,
    truncated_normal,
    uniform,
)


@pytest.mark.parametrize(
    ("initializer", "shape", "dtype", "message"),
    [
        (truncated_normal(), (3, 4), "complex64", "dtype of truncated_normal must be real"),
        (truncated_normal(low=6.0, high=7.0), (3, 4), "complex64", "dtype of truncated_normal must be real"),
        (siren(), (3, 4), "complex64", "dtype of siren must be real"),
        (spectral() * 0.5, (3, 4), "complex64", "dtype of spectral must be real"),
        (log_uniform(0.1, 1.0), (3, 4), "complex64", "dtype of log_uniform must be real"),
        (inverse_softplus(normal(1.0)), (3, 4), "complex64", "dtype of inverse_softplus must be real"),
        (sparse(0.5, 5e-324), (3, 4), "float32", "weights of std .* underflow float32"),
        (inverse_softplus(orthogonal()), (3,), "float32", "shape must have at least 2 axes for orthogonal"),
        (icnr(truncated_normal(), 2), (3, 3, 4, 8), "complex64", "dtype of truncated_normal must be real"),
        (dirac(), (3,), "float32", "shape must have at least 2 axes for dirac"),
        (dirac(1e5), (3, 4), "float16", "overflow float16"),
        (constant(1e5), (3, 4), "float16", "overflow float16"),
    ],
    ids=str,
)
def test_a_draw_that_cannot_be_made_is_an_error_before_it_is_drawn(initializer, shape, dtype, message):
    for attempt in (initializer.check, initializer):
        with pytest.raises(ValueError, match=message):
            attempt(shape, dtype)
    with pytest.raises(PlanError, match=message):
        plan([Parameter("a", shape, dtype, axes="...IO" if len(shape) > 1 else None, kind="kernel")], initializer)


COMPLEX = [he_normal, glorot_uniform, normal(), uniform(), orthogonal(), sparse(0.5), constant(1)]


@pytest.mark.parametrize("initializer", COMPLEX)
def test_complex_weights_that_can_be_drawn_pass_the_check(initializer):
    initializer.check((6, 4), "complex64")
    assert initializer((6, 4), "complex64").dtype == np.complex64


def test_an_initializer_called_without_a_shape_is_an_error_with_the_fix():
    with pytest.raises(TypeError, match=r"got None.* is an initializer already: leave out the parentheses"):
        he_normal()


@pytest.mark.parametrize("sizes", [(3, 4), (3, 3, 64, 128)])
def test_sizes_that_are_no_tuple_are_an_error_that_shows_the_tuple(sizes):
    message = f"shape must be one argument, got {', '.join(map(str, sizes))}. Pass a tuple: {sizes}"
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        he_normal(*sizes)


@pytest.mark.parametrize("function", [fans, he_normal.std, he_normal.bounds, he_normal.check])
def test_two_sizes_that_are_no_tuple_are_an_error_in_every_function_of_a_shape(function):
    with pytest.raises(TypeError, match=r"^shape must be one argument, got 784, 128\. Pass a tuple: \(784, 128\)$"):
        function(784, 128)


def test_a_shape_that_a_factory_gets_is_an_error_that_names_the_initializer():
    message = (
        r"mean must be a real number, got \(3, 4\). If \(3, 4\) is a shape, pass the shape to the initializer that this"
    )
    with pytest.raises(TypeError, match=message):
        normal((3, 4))


def test_a_tensor_in_place_of_a_shape_is_an_error_that_names_the_adapter():
    with pytest.raises(TypeError, match=r"a ndarray of shape .*initlib.adapters.torch.fill_\("):
        he_normal(np.zeros((3, 4)))

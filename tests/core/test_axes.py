import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initlib import Fans, fans, he_normal, normal, orthogonal, siren
from initlib.axes import canonical

# A weight, its shape, its axes, and its fans computed by hand.
WEIGHTS = [
    ("Keras and JAX dense", (784, 128), "IO", (784, 128)),
    ("Keras and JAX dense, by default", (784, 128), None, (784, 128)),
    ("PyTorch linear", (128, 784), "OI", (784, 128)),
    ("PyTorch convolution", (64, 32, 3, 3), "OIHW", (288, 576)),
    ("PyTorch convolution, with spaces", (64, 32, 3, 3), " O I  H W ", (288, 576)),
    ("PyTorch depthwise convolution", (32, 1, 3, 3), "(32 O)IHW", (9, 9)),
    ("PyTorch transposed convolution", (32, 64, 3, 3), "IOHW", (288, 576)),
    ("Keras convolution, by default", (3, 3, 32, 64), None, (288, 576)),
    ("Keras transposed convolution", (3, 3, 64, 32), "HWOI", (288, 576)),
    ("Keras depthwise convolution", (3, 3, 32, 2), "HWBO", (9, 18)),
    ("packed query, key and value", (192, 64), "(3 O)I", (64, 64)),
    ("LSTM weight_ih", (4 * 7, 5), "(4 O)I", (5, 7)),
    ("attention, embed to heads", (512, 8, 64), "IOO", (512, 512)),
    ("experts", (4, 16, 32), "BIO", (16, 32)),
    ("packed twice", (2 * 3 * 5, 7), "(2 (3 O))I", (7, 5)),
    ("any number of positions", (2, 3, 4, 5, 6), "OI...", (360, 240)),
    ("no positions", (5, 6), "OI...", (6, 5)),
    ("a bias", (7,), None, (7, 7)),
    ("a scalar", (), None, (1, 1)),
    ("empty", (0, 5), None, (0, 5)),
]


@pytest.mark.parametrize(("shape", "axes", "expected"), [row[1:] for row in WEIGHTS], ids=[row[0] for row in WEIGHTS])
def test_fans_of_a_weight_follow_from_its_axes(shape, axes, expected):
    assert fans(shape, axes) == Fans(*expected)


def test_shape_may_be_an_int_or_a_list():
    assert fans(7) == fans([7]) == fans(np.array([7])) == (7, 7)


BAD_AXES = [
    ("", "must consist of I (input)"),
    ("  ", "must consist of I (input)"),
    ("IoHW", "must consist of I (input)"),
    ("IoHW", "got 'o'"),
    ("I2", "got '2'"),
    ("I..O", "got '.'"),
    ("...I...", "got '...' twice"),
    ("OIHH", "got 'H' twice"),
    ("(3 O", "must close each parenthesis"),
    ("3 O)", "got '3'"),
    ("O)", "must hold an axis in each parenthesis"),
    ("()", "got '('"),
    ("(3)", "must hold an axis in each parenthesis"),
    ("(0 O)I", "must pack at least 1 kernel"),
    ("(-3 O)I", "got '('"),
    ("(3 OI)", "must hold one axis in each parenthesis"),
    ("(3 ...)I", "must not pack '...'"),
]


@pytest.mark.parametrize(("axes", "message"), BAD_AXES)
def test_an_error_quotes_the_bad_axes(axes, message):
    with pytest.raises(ValueError) as error:
        fans((6, 6), axes)
    assert message in str(error.value)
    assert repr(axes) in str(error.value)


@pytest.mark.parametrize(
    ("shape", "axes", "message"),
    [
        ((64, 32, 3, 3), "OIH", "axes must name 4 axes for shape (64, 32, 3, 3), got 'OIH' with 3"),
        ((64, 32), "OIH", "axes must name 2 axes for shape (64, 32), got 'OIH' with 3"),
        ((64,), "OI...", "axes must name at most 1 axes for shape (64,), got 'OI...' with at least 2"),
        ((64, 5), "(3 O)I", "divides the axis size 64 of shape (64, 5), got 3 in '(3 O)I'"),
        ((-1, 5), None, "shape must have no negative size, got (-1, 5)"),
        ((2**40, 2**24), None, "shape must hold fewer than 2**64 weights"),
    ],
)
def test_axes_that_do_not_fit_the_shape_are_an_error(shape, axes, message):
    with pytest.raises(ValueError) as error:
        he_normal(shape, axes=axes, index=(0,) * len(shape))
    assert message in str(error.value)


def test_axes_of_receptive_field_alone_have_no_fans():
    message = (
        "axes must name the inputs (I) or the outputs (O), got 'XY', a receptive field alone. "
        'Write "IO" or "OI", or "..." if there is one input and one output'
    )
    for draw in (fans, he_normal, siren()):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            draw((8, 8), axes="XY")
    assert fans((8, 8), "...") == (64, 64)
    assert fans((8,), "X") == (8, 8)
    assert fans((8, 8), "BX") == (8, 8)
    assert np.array_equal(normal()((8, 8), axes="XY", seed=0), normal()((8, 8), seed=0))


@pytest.mark.parametrize("shape", [2.0, (2.0, 3), "23", None, ("2", 3)])
def test_a_shape_of_a_wrong_type_is_an_error(shape):
    with pytest.raises(TypeError, match="shape must be an int or a sequence of ints"):
        fans(shape)


@pytest.mark.parametrize("axes", [5, ("I", "O"), b"IO", ["I", "O"]])
def test_axes_of_a_wrong_type_are_an_error(axes):
    with pytest.raises(TypeError, match="axes must be a string"):
        fans((2, 3), axes)


def positions(shape, axes):
    """Return the canonical position of every stored index."""
    total = np.zeros(shape, np.int64)
    for axis, factors in enumerate(canonical(shape, axes).factors):
        index = np.arange(shape[axis]).reshape([-1 if k == axis else 1 for k in range(len(shape))])
        for size, step, stride in factors:
            total = total + index // step % size * stride
    return total


@pytest.mark.parametrize(
    ("shape", "axes", "split", "order"),
    [
        ((5, 4), "OI", (5, 4), (1, 0)),
        ((4, 3, 2, 5), "OIHW", (4, 3, 2, 5), (2, 3, 1, 0)),
        ((2, 5, 4, 3), "HWOI", (2, 5, 4, 3), (0, 1, 3, 2)),
        ((12, 5), "(3 O)I", (3, 4, 5), (0, 2, 1)),
        ((5, 12), "I(3 O)", (5, 3, 4), (1, 0, 2)),
        ((4, 3, 2), "OBI", (4, 3, 2), (1, 2, 0)),
        ((2, 3, 4), "OOI", (2, 3, 4), (2, 0, 1)),
        ((12, 5), "(2 (3 O))I", (2, 3, 2, 5), (0, 1, 3, 2)),
        ((3, 4, 5, 6), "HIWO", (3, 4, 5, 6), (0, 2, 1, 3)),
    ],
)
def test_canonical_order_is_stacks_field_inputs_outputs(shape, axes, split, order):
    """Row-major numbers over the axes in `order`, the packed axes split, return to storage."""
    canonical = np.arange(math.prod(shape)).reshape([split[axis] for axis in order])
    stored = canonical.transpose(np.argsort(order)).reshape(shape)
    assert (positions(shape, axes) == stored).all()


@given(st.lists(st.tuples(st.sampled_from("BIO"), st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=4))
def test_numbering_is_a_permutation(axes):
    shape = tuple(n * size for _, n, size in axes)
    numbers = positions(shape, "".join(f"({n} {letter})" for letter, n, _ in axes))
    assert sorted(numbers.ravel()) == list(range(math.prod(shape)))


@given(st.lists(st.tuples(st.sampled_from("BIOIO"), st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=4))
def test_canonical_arranges_by_position_and_stores_back(axes):
    shape = tuple(n * size for _, n, size in axes)
    string = "".join(f"({n} {letter})" for letter, n, _ in axes)
    weight, stored = canonical(shape, string), positions(shape, string)
    assert (weight.arrange(stored).ravel() == np.arange(stored.size)).all()
    assert (weight.store(weight.arrange(stored)) == stored).all()
    assert (weight.store(np.arange(stored.size)) == stored).all()
    assert math.prod(weight.matrices) == stored.size


def test_coordinates_are_indices_inside_each_part():
    weight = canonical((12, 5, 3), "(3 O)IW")
    stacks, field, inputs, outputs = weight.coordinates(np.ix_([0, 5, 11], [2], [1]))
    assert [index.ravel().tolist() for index in (*stacks, *field, *inputs, *outputs)] == [
        [0, 1, 2],
        [1],
        [2],
        [0, 1, 3],
    ]


@given(st.lists(st.integers(0, 4), max_size=5))
def test_default_axes_number_in_stored_order(shape):
    assert (positions(tuple(shape), None).ravel() == np.arange(math.prod(shape))).all()


@pytest.mark.parametrize("axes", ["(1 " * 1000 + "O" + ")" * 1000, "(" * 10**5, f"({'9' * 5000} O)I", "." * 300])
def test_axes_of_any_length_are_an_error_at_once(axes):
    with pytest.raises(ValueError, match=f"axes must have at most 250 characters, got {len(axes)}: '"):
        fans((4, 4), axes)


def test_sixty_nested_parentheses_are_valid():
    deep = "(1 " * 60 + "O" + ")" * 60 + "I"
    assert orthogonal()((4, 4), axes=deep, seed=0).tolist() == orthogonal()((4, 4), axes="OI", seed=0).tolist()

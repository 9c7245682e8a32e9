"""Pieces of a shape: boxes that lie one after another in memory."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import small_boxes

from initlib.stream.boxes import Pieces, box_index, box_inside, box_shape, normalize_index

SHAPES = st.lists(st.integers(0, 6), max_size=4).map(tuple)


@given(SHAPES, st.integers(1, 50))
def test_the_pieces_in_order_are_the_tensor(shape, most):
    tensor = np.arange(math.prod(shape)).reshape(shape)
    cut = Pieces(shape, most)
    at = 0
    for number, piece in enumerate(cut):
        assert piece == cut[number]
        box = tensor[piece.place]
        assert (piece.start, box.shape) == (at, piece.shape)
        assert np.array_equal(box.reshape(-1), np.arange(piece.start, piece.stop))
        assert 0 < box.size <= max(most, 1)
        at = piece.stop
    assert at == tensor.size
    assert number + 1 == len(cut) if tensor.size else len(cut) == 0


@given(SHAPES, st.integers(1, 50), st.integers(1, 20))
def test_samples_are_spread_from_the_first_to_the_last(shape, most, count):
    cut = Pieces(shape, most)
    taken = list(cut.sample(count))
    assert len(taken) == min(count, len(cut))
    assert [piece.start for piece in taken] == sorted({piece.start for piece in taken})
    if len(taken) > 1:
        assert (taken[0], taken[-1]) == (cut[0], cut[len(cut) - 1])
    gaps = np.diff([piece.start for piece in taken])
    assert gaps.size == 0 or gaps.max() <= 2 * gaps.min() + most


def test_a_tensor_of_any_size_is_cut_at_once():
    cut = Pieces((2**20, 2**20, 2**20), 2**22)
    assert len(cut) == 2**38
    assert cut[2**38 - 1].stop == 2**60
    assert [piece.start for piece in cut.sample(2)] == [0, 2**60 - 2**22]
    with pytest.raises(IndexError):
        cut[2**38]


@given(small_boxes(), st.data())
def test_an_index_of_a_box_is_a_box_of_the_weight(box, data):
    shape, _, index = box
    tensor = np.arange(math.prod(shape)).reshape(shape)
    outer = normalize_index(index, shape)
    kept = tuple(part._replace(drop=False) for part in outer)
    inner = tuple(
        data.draw(st.slices(part.size) | st.integers(0, part.size - 1)) if part.size else slice(None) for part in kept
    )
    expected = tensor[box_index(kept)][inner]
    taken = box_inside(kept, inner)
    assert box_shape(taken) == expected.shape
    assert np.array_equal(tensor[box_index(taken)], expected)

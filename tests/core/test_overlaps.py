import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initlib.plans.packing.overlaps import Overlap, cut, identity_overlap, join


@st.composite
def indices(draw, shape):
    """Draw an index of ints and slices of an array of that shape."""
    entries = []
    for size in shape:
        if size and draw(st.booleans()):
            entries.append(draw(st.integers(-size, size - 1)))
        else:
            entries.append(draw(st.slices(size)))
    return tuple(entries)


@st.composite
def partitions(draw, shape):
    """Draw boxes of separate pieces that together are a tensor of that shape: cut along one axis, stacked or not."""
    axis = draw(st.integers(0, len(shape) - 1))
    every = identity_overlap(shape).outer
    if draw(st.booleans()):
        inner = every[:axis] + every[axis + 1 :]
        return [Overlap((*every[:axis], i, *every[axis + 1 :]), inner) for i in range(shape[axis])]
    ends = sorted({0, shape[axis], *draw(st.lists(st.integers(0, shape[axis]), max_size=3))})
    shift = draw(st.integers(0, 2))  # where in its piece a box starts
    return [
        Overlap(
            (*every[:axis], slice(low, high), *every[axis + 1 :]),
            (*every[:axis], slice(shift, shift + high - low), *every[axis + 1 :]),
        )
        for low, high in itertools.pairwise(ends)
    ]


SHAPES = st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple)


@given(st.data(), SHAPES)
def test_a_cut_takes_what_the_index_takes(data, shape):
    index = data.draw(indices(shape))
    stored = np.arange(np.prod(shape)).reshape(shape)
    taken = np.full(stored[index].shape, -1)
    for box in data.draw(partitions(shape)):
        piece = np.full([*(5 + size for size in stored[box.outer].shape)], -2)
        piece[box.inner] = stored[box.outer]
        for outer, inner in cut([box], index, shape):
            assert taken[outer].shape == piece[inner].shape
            assert (taken[outer] == -1).all()  # nothing is taken twice
            taken[(*outer, ...)] = piece[inner]
    assert (taken == stored[index]).all()


@given(st.data(), SHAPES)
def test_joins_of_boxes_in_boxes_are_right(data, shape):
    stored = np.arange(np.prod(shape)).reshape(shape)
    filled = np.full(shape, -1)
    for first in data.draw(partitions(shape)):
        inner_shape = stored[first.outer].shape
        first = Overlap(first.outer, identity_overlap(inner_shape).inner)
        middle = stored[first.outer]
        if not inner_shape:
            filled[(*first.outer, ...)] = middle
            continue
        for second in data.draw(partitions(inner_shape)):
            piece = np.full([5 + size for size in middle[second.outer].shape], -2)
            piece[second.inner] = middle[second.outer]
            box = join(first, second)
            if box is not None:
                filled[(*box.outer, ...)] = piece[box.inner]
    assert (filled == stored).all()


def test_boxes_that_do_not_meet_have_no_join():
    assert join(Overlap((slice(0, 2),), (slice(0, 2),)), Overlap((slice(2, 4),), (slice(0, 2),))) is None
    assert join(Overlap((), (3,)), Overlap((slice(0, 3),), (slice(0, 3),))) is None


def test_boxes_of_different_numbers_of_axes_are_an_error():
    with pytest.raises(ValueError, match="the same number of slices on both sides"):
        join(Overlap((3,), (slice(0, 2),)), Overlap((slice(0, 2),), (slice(0, 2),)))

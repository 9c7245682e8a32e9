"""Boxes of packed axes as nests of loops: all weights of the index, in few nests."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from initlib import normal
from initlib.stream.boxes import normalize_index
from initlib.stream.loops import nests

AXES = ["(2 O)I", "O(3 I)", "(2 (3 O))(2 I)", "(2 B)(3 I)", "(5 B)I"]


@given(axes=st.sampled_from(AXES), sizes=st.tuples(st.integers(1, 4), st.integers(1, 4)), data=st.data())
def test_an_index_of_any_step_takes_the_weights_of_the_full_draw(axes, sizes, data):
    shape = tuple(30 * size for size in sizes)
    bounds = st.none() | st.integers(-130, 130)
    steps = st.integers(-70, 70).filter(bool)
    index = tuple(slice(data.draw(bounds), data.draw(bounds), data.draw(steps)) for _ in shape)
    whole = normal()(shape, axes=axes, seed=0)
    assert np.array_equal(normal()(shape, axes=axes, seed=0, index=index), whole[index])


def test_an_index_with_a_step_is_few_nests():
    shape, axes = (128, 128, 128), "(64 B)(64 O)(64 I)"
    whole = normal()(shape, axes=axes, seed=0)
    for step, most in ((1, 1), (-1, 1), (3, 27), (-3, 27), (-7, 27), (64, 1)):
        index = (slice(None, None, step),) * 3
        assert len(nests(shape, axes, normalize_index(index, shape), None)) <= most
        assert np.array_equal(normal()(shape, axes=axes, seed=0, index=index), whole[index])


def test_nests_grow_with_the_step_and_not_with_the_axis():
    counts = [
        len(nests((size,), f"({size // 1000} O)", normalize_index(slice(None, None, 7), (size,)), None))
        for size in (10**5, 10**6, 10**9)
    ]
    assert max(counts) <= 2 * 7

"""Launches cover a box once, and their numbers have 32 bits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import small_boxes

from initlib.axes import canonical
from initlib.stream import launches as module
from initlib.stream.boxes import box_shape, normalize_index
from initlib.stream.launches import launches, reciprocal


def dense(shape):
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def places(launch):
    """Return the position and the place in memory of every weight, as the kernel computes them."""
    position, memory = np.array([launch.position]), np.array([launch.offset])
    for loop in launch.loops:
        steps = np.arange(loop.size)
        position = (position[:, None] + steps * loop.position).ravel()
        memory = (memory[:, None] + steps * loop.memory).ravel()
    return list(zip(position.tolist(), memory.tolist(), strict=True))


def positions(shape, axes):
    """Return the canonical position of every weight, by the definition."""
    index = np.indices(shape)
    return sum(
        index[axis] // factor.step % factor.size * factor.stride
        for axis, factors in enumerate(canonical(shape, axes).factors)
        for factor in factors
    )


@given(small_boxes(), st.integers(1, 4), st.sampled_from([5, 2**30]))
def test_a_box_is_covered_once(weight, depth, most):
    shape, axes, index = weight
    expected = positions(shape, axes)[index]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST", most)
        all_ = launches.__wrapped__(shape, axes, normalize_index(index, shape), dense(expected.shape), depth)
    actual = sorted((at, position) for launch in all_ for position, at in places(launch))
    assert actual == list(enumerate(expected.ravel().tolist()))
    for launch in all_:
        assert len(launch.loops) <= depth
        assert launch.weights == len(places(launch)) <= most
        assert min(places(launch))[0] == launch.position
        assert launch.dense == ([at - launch.offset for _, at in places(launch)] == list(range(launch.weights)))


HUGE = [
    ((2**34,), "I", ()),
    ((2**17, 2**16), "OI", ()),
    ((128, 8192, 8192), "BOI", ()),
    ((2**20, 2**20), "OI", (slice(0, 7), slice(None, None, 2**15))),
    ((2**33, 2), "OI", (slice(None, None, -1), 1)),
    ((3, 2**31 + 1), "(3 O)I", ()),
]


@pytest.mark.parametrize(("shape", "axes", "index"), HUGE)
@pytest.mark.parametrize("apart", [1, 3])
def test_numbers_have_32_bits(shape, axes, index, apart):
    box = normalize_index(index, shape)
    kept = box_shape(box)
    all_ = launches(shape, axes, box, tuple(apart * stride for stride in dense(kept)), 4)
    assert sum(launch.weights for launch in all_) == math.prod(kept)
    for launch in all_:
        assert launch.weights <= 2**30
        assert all(loop.position >= 0 for loop in launch.loops)
        assert sum((loop.size - 1) * loop.position for loop in launch.loops) < 2**32
        assert sum((loop.size - 1) * abs(loop.memory) for loop in launch.loops) < 2**31


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((4096, 1024), "OI"),
        ((256, 128, 3, 3), "OIHW"),
        ((256, 16, 3, 3), "(16 O)IHW"),
        ((8, 3072, 1024), "B(3 O)I"),
        ((64, 3, 3, 3, 3), "OIDHW"),
        ((1,), "O"),
        ((), "..."),
    ],
)
def test_a_usual_weight_is_one_launch(shape, axes):
    (launch,) = launches(shape, axes, None, dense(shape), 4)
    assert launch.dense


def test_a_shard_that_cuts_packed_kernels_is_few_launches():
    shard = normalize_index((slice(1000, 2000),), (3072, 1024))
    assert len(launches((3072, 1024), "(3 O)I", shard, dense((1000, 1024)), 4)) == 2


def test_an_empty_box_is_no_launch():
    assert launches((0, 5), "OI", None, (5, 1), 4) == ()


@given(st.integers(2, 2**30), st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_the_reciprocal_divides_exactly(size, k, other):
    multiplier, shift = reciprocal(size)
    assert 2**31 <= multiplier < 2**32
    multiple = other % (2**31 // size) * size
    for number in (k, multiple, max(multiple - 1, 0), 2**31 - 1):
        assert (number * multiplier >> 32) >> shift == number // size

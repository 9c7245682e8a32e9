"""The boxes of a tensor that lie one after another in memory."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initlib import Parameter, he_normal, identity, orthogonal, parts, plan
from initlib.checkpoints.spans import Spans, spans

SHAPES = st.lists(st.integers(0, 6), max_size=4).map(tuple)


@given(SHAPES, st.integers(1, 50))
def test_the_boxes_are_the_tensor_in_order(shape, most):
    tensor = np.arange(math.prod(shape)).reshape(shape)
    cut = Spans(shape, most)
    at = 0
    for number, span in enumerate(cut):
        assert span == cut[number]
        box = tensor[span.box]
        assert (span.start, box.shape) == (at, span.shape)
        assert np.array_equal(box.reshape(-1), np.arange(span.start, span.stop))
        assert 0 < box.size <= max(most, 1)
        at = span.stop
    assert at == tensor.size
    assert number + 1 == len(cut) if tensor.size else len(cut) == 0


@given(SHAPES, st.integers(1, 50), st.integers(1, 20))
def test_samples_are_spread_from_the_first_to_the_last(shape, most, count):
    cut = Spans(shape, most)
    taken = list(cut.sample(count))
    assert len(taken) == min(count, len(cut))
    assert [span.start for span in taken] == sorted({span.start for span in taken})
    if len(taken) > 1:
        assert (taken[0], taken[-1]) == (cut[0], cut[len(cut) - 1])
    gaps = np.diff([span.start for span in taken])
    assert gaps.size == 0 or gaps.max() <= 2 * gaps.min() + most


def test_boxes_are_made_on_demand():
    cut = Spans((2**20, 2**20, 2**20), 2**22)
    assert len(cut) == 2**38
    assert cut[2**38 - 1].stop == 2**60
    assert [span.start for span in cut.sample(2)] == [0, 2**60 - 2**22]
    with pytest.raises(IndexError):
        cut[2**38]


def test_weights_that_depend_on_one_another_are_one_box():
    parameters = [Parameter(name, (8, 6), axes="OI") for name in ("free", "whole", "index", "qk")]
    rules = {
        "free": he_normal,
        "whole": orthogonal(),
        "index": identity(),
        "qk": parts({"q": (1, he_normal), "k": (1, orthogonal())}),
    }
    entries = {entry.parameter.name: entry for entry in plan(parameters, rules).entries}
    assert [len(spans(entry, 12)) for entry in entries.values()] == [4, 1, 4, 1]

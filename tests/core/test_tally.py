"""Tally: counts in pieces are the counts of all numbers together."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initlib import audit
from initlib.diagnostics.audit import tally as module
from initlib.diagnostics.audit.tally import EXTREMES, SAMPLE, Tally, _stride
from initlib.files.readers.stored_tensor import StoredTensor, UnmeasuredError


def tally(array, most=97):
    tensor = StoredTensor.of("w", np.asarray(array))
    return Tally(tensor.shape, tensor.pieces(most))


@given(st.sampled_from([(), (5,), (1, 7), (40, 30), (3, 3, 8, 5), (600, 2)]), st.integers(1, 2000), st.floats(-9, 9))
def test_statistics_do_not_depend_on_the_pieces(shape, most, mean):
    array = np.asarray(np.random.default_rng(0).normal(mean, 1, size=shape))
    counts = tally(array, most)
    assert counts.count == array.size
    assert counts.mean == pytest.approx(array.mean())
    assert counts.std == pytest.approx(array.std(), abs=1e-12)
    assert (counts.least, counts.greatest) == (array.min(), array.max())
    assert np.array_equal(counts.sample, array.reshape(-1))
    assert counts.digest == tally(array, 10).digest
    flat = np.sort(array.reshape(-1))
    assert np.array_equal(counts.lowest, flat[:EXTREMES])
    assert np.array_equal(counts.highest, flat[-EXTREMES:])
    if len(shape) > 1:
        rows, columns = array.reshape(shape[0], -1), array.reshape(-1, shape[-1]).T
        for lines, matrix in ((counts.rows, rows), (counts.columns, columns)):
            assert lines.length == matrix.shape[1]
            assert np.allclose(lines.sums, matrix.sum(axis=1))
            assert np.allclose(lines.squares, (matrix**2).sum(axis=1))


def test_numbers_that_are_not_finite_are_counted_apart():
    counts = tally([1.0, np.nan, np.inf, -np.inf, 0.0, 2.0])
    assert (counts.count, counts.nans, counts.infinities, counts.zeros) == (3, 1, 2, 1)
    assert (counts.mean, counts.least, counts.greatest) == (1.0, 0.0, 2.0)
    nothing = tally([np.nan])
    assert (nothing.count, nothing.constant) == (0, False)
    assert np.isnan([nothing.std, nothing.least, nothing.greatest]).all()
    assert tally(np.empty((0, 3))).count == 0


def test_a_constant_tensor_has_std_0():
    assert tally(np.full((3, 4), 0.1)).constant
    assert tally(np.full((3, 4), 0.1)).std == 0
    assert not tally([1.0, 1.0, np.nan]).constant


def test_equal_lines_have_equal_hashes(rng):
    array = rng.normal(size=(50, 40)).astype(np.float32)
    array[7] = array[31]
    array[:, 3] = array[:, 20]
    array[11] = 0
    counts = tally(array)
    assert len(np.unique(counts.rows.hashes)) == 49
    assert counts.rows.hashes[7] == counts.rows.hashes[31]
    assert counts.columns.hashes[3] == counts.columns.hashes[20]
    assert len(np.unique(counts.columns.hashes)) == 39
    assert counts.rows.hashes[11] == 0
    assert counts.rows.zeros[11] == 40


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.bool_, np.uint32])
def test_other_dtypes_are_counted(dtype, rng):
    array = rng.integers(0, 2, size=(20, 30)).astype(dtype)
    counts = tally(array)
    assert counts.floats == (array.dtype.kind == "f")
    assert counts.zeros == (array == 0).sum()
    with pytest.raises(UnmeasuredError, match="complex"):
        tally(array.astype(complex))


@pytest.mark.parametrize("last", [1, 3, 64, 1000, 4096])
def test_the_sample_covers_all_columns(last):
    size = 40 * SAMPLE // last * last
    stride = _stride(size, last)
    assert SAMPLE / 2 < size / stride < 2 * SAMPLE
    assert len(np.unique(np.arange(0, size, stride) % last)) == last
    assert tally(np.arange(float(2**18)).reshape(-1, 64), 2**14).sample.size <= SAMPLE


def test_rows_of_zeros_are_left_out(rng):
    array = rng.normal(size=(50, 40))
    assert tally(array).without_empty_rows()[1] == 0
    array[[3, 9]] = 0
    kept, empty = tally(array).without_empty_rows()
    others = np.delete(array, [3, 9], axis=0)
    assert empty == 2
    assert (kept.size, kept.zeros, kept.rows.sums.size, kept.columns.length) == (48 * 40, 0, 48, 48)
    assert (kept.mean, kept.std) == (pytest.approx(others.mean()), pytest.approx(others.std()))
    array[0, 0] = 0
    assert tally(array).without_empty_rows()[1] == 0


@pytest.mark.parametrize("shape", [(3, 1000), (2, 7, 150), (1, 4, 3, 100), (1050, 1), (2, 1, 1000)])
def test_long_rows_are_counted_in_parts(shape, monkeypatch):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    array[0, ..., :3] = 0
    expected = Tally(shape, [array])
    monkeypatch.setattr(module, "PIECE", 64)
    counts = Tally(shape, (array[k : k + 1] for k in range(len(array))))
    assert (counts.zeros, counts.least, counts.greatest) == (expected.zeros, expected.least, expected.greatest)
    assert (counts.mean, counts.std) == pytest.approx((expected.mean, expected.std), rel=1e-12)
    assert counts.digest == expected.digest
    for actual, wanted in ((counts.rows, expected.rows), (counts.columns, expected.columns)):
        assert np.array_equal(actual.hashes, wanted.hashes)
        assert np.array_equal(actual.zeros, wanted.zeros)
        assert np.allclose(actual.sums, wanted.sums, rtol=1e-12)
        assert np.allclose(actual.squares, wanted.squares, rtol=1e-12)


def test_a_long_row_takes_little_more_memory_than_itself(tmp_path):
    np.savez(tmp_path / "w.npz", w=np.zeros((1, 2**24), np.float32))
    tracemalloc.start()
    try:
        report = audit(tmp_path / "w.npz")
        assert tracemalloc.get_traced_memory()[1] < 1.5 * 2**26
    finally:
        tracemalloc.stop()
    assert report.tensors[0].scheme == "zeros"

"""Compiled kernel: each path gives the bits of the reference, in every branch."""

import sys

import numpy as np
import pytest

from initlib import Key, he_normal, normal, truncated_normal, uniform
from initlib.stream import config, kernel

DTYPES = ("float16", "bfloat16", "float32", "float64")
INITIALIZERS = {
    "uniform": uniform(-1.0, 3.0),
    "whole line": normal(0.0, 1.0),
    "a mean": normal(0.5, 2.0),
    "2 sigma": he_normal,
    "4 sigma": truncated_normal(low=-4.0, high=4.0),
    "one side": truncated_normal(low=0.0, high=5.0),
    "narrow": truncated_normal(low=1.0, high=1.01),
    "upper tail": truncated_normal(low=3.3, high=100.0),
    "lower tail": truncated_normal(low=-100.0, high=-3.3),
}

pytestmark = pytest.mark.skipif(config.kernel is None, reason="the kernel was not compiled")


@pytest.fixture(params=config.kernel.paths() if config.kernel is not None else ())
def path(request, monkeypatch):
    monkeypatch.setattr(config, "path", config.kernel.paths().index(request.param))


def by_reference(initializer, *args, **kwargs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "kernel", None)
        return initializer(*args, **kwargs)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("initializer", INITIALIZERS.values(), ids=INITIALIZERS)
def test_each_path_gives_the_bits_of_the_reference(initializer, dtype):
    """The weights are enough to read all but the rarest rows of the table."""
    shape = (301, 331)
    assert initializer(shape, dtype, seed=3).tobytes() == by_reference(initializer, shape, dtype, seed=3).tobytes()


@pytest.mark.usefixtures("path")
def test_the_rarest_tails_have_the_bits_of_the_reference():
    """The words nearest to 0 and to 2**32 among many use the first rows of the table."""
    size = 2**22
    word = Key(1).bits(size)
    tail = np.minimum(word, ~word)
    for at in np.argsort(tail)[:20].tolist():
        box = {"seed": 1, "index": slice(max(0, at - 40), at + 40)}
        assert (normal()(size, **box) == by_reference(normal(), size, **box)).all()


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("size", [1, 2, 31, 63, 64, 65, 127, 128, 200])
def test_any_number_of_weights_has_the_bits_of_the_reference(size):
    whole = by_reference(he_normal, (500,), seed=7)
    assert (he_normal((500,), seed=7, index=slice(100, 100 + size)) == whole[100 : 100 + size]).all()
    every_third = slice(2, 2 + 3 * size, 3) if size < 160 else slice(0, 200)
    assert (he_normal((500,), seed=7, index=every_third) == whole[every_third]).all()


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("step", [1, 7, -1])
def test_positions_past_32_bits_have_the_bits_of_the_reference(step):
    box = slice(2**33 - 150, 2**33 + 150) if step > 0 else slice(2**33 + 150, 2**33 - 150, step)
    box = slice(box.start, box.stop, step)
    drawn = he_normal((2**34,), seed=11, index=box)
    assert (drawn == by_reference(he_normal, (2**34,), seed=11, index=box)).all()


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("dtype", DTYPES)
def test_strided_memory_has_the_bits_of_the_reference(dtype):
    whole = by_reference(he_normal, (40, 50), dtype, seed=5)
    out = np.zeros((80, 150), whole.dtype)
    he_normal((40, 50), dtype, seed=5, out=out[::2, ::3])
    assert (out[::2, ::3] == whole).all()
    out[::2, ::3] = 0
    assert not out.any()


@pytest.mark.usefixtures("path")
def test_words_have_the_bits_of_the_reference():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "kernel", None)
        words = Key(9).bits((70, 30))
    assert (Key(9).bits((70, 30)) == words).all()


FAR = [2**62, 2**63 - 1, -(2**62), -(2**63)]
EXTREMES = [
    {"row": 2**63 - 1, "block": 2**63 - 1},
    {"row": 2**63 - 1, "block": 1, "stride": 1},
    {"block": 2**63 - 1, "row": 2**62},
    {"rows": 4, "row": 2**62, "block": 1},
    {"rows": 4, "row": 8, "offset": 57},
    *({"offset": far} for far in FAR),
    *({"stride": far, "row": 24} for far in FAR),
    *({"scatter": far} for far in FAR),
    *({"scatter": far, "offset": -far - (far == -(2**63))} for far in FAR),
]


def group(out, key=0, rows=1, row=8, block=8, offset=0, step=0, stride=0, pattern=None, scatter=None, span=64):
    """Return a group of one tensor: uniform noise in float32."""
    law = (1, False, 0, 0, -(2**24), 2**24, 2.0**-24, 0.0)
    starts = np.zeros(rows, np.uint64), np.full(rows, offset, np.int64)
    scatter = None if scatter is None else np.full(block, scatter, np.int64)
    return (*law, *starts, row, block, step, stride, pattern, scatter, span, (out,), (key,))


def draw(*groups):
    assert config.kernel.draw(0, kernel._TABLE, groups, 2**62)[0] is None


@pytest.mark.parametrize("extreme", EXTREMES, ids=str)
def test_runs_beyond_all_memory_are_an_error(extreme):
    out = np.zeros(64, np.float32)
    with pytest.raises(ValueError, match="the runs do not fit the memory"):
        draw(group(out, **extreme))
    assert (out == 0).all()


REFUSED = [
    (lambda out: group(out[:7], span=8), "do not fit the memory"),
    (lambda out: group(out, span=7), "do not fit the memory"),
    (lambda out: group(out, row=9, stride=-1), "do not fit the memory"),
    (lambda out: group(out, pattern=np.zeros(7, np.uint32)), "do not fit the memory"),
    (lambda out: group(out.astype(np.float64)), "out has items of 8 bytes, not 4"),
    (lambda out: group(out, pattern=np.zeros(8, np.uint64)), "pattern has items of 8 bytes, not 4"),
    (lambda out: group(out[::2], span=8), "contiguous"),
    (lambda out: group(np.frombuffer(bytes(256), np.float32)), "read-only"),
    (lambda out: group(0), "the address is NULL"),
    (lambda out: group(2**70), "int too large|int too big"),
    (lambda out: (9, *group(out)[1:]), "dtype code 9 is unknown"),
    (lambda out: (*group(out)[:-1], ()), "a tuple of memories and one of as many keys"),
    (lambda out: (*group(out)[:-1], (2**64,)), "too large|too big"),
    (lambda out: group(out)[1:], "takes exactly|must be"),
    (lambda out: [*group(out)], "a group must end with a tuple"),
]


@pytest.mark.parametrize(("refused", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_nothing_is_written_if_the_kernel_refuses_the_last_of_many_weights(refused, message):
    first, last = np.zeros(64, np.float32), np.zeros(64, np.float32)
    with pytest.raises((ValueError, TypeError, OverflowError, BufferError), match=message):
        draw(group(first), group(first), refused(last))
    assert not first.any()
    assert not last.any()
    draw(group(first), group(last, key=1))
    assert first[:8].all()
    assert last[:8].all()
    assert (first != last)[:8].all()


def test_a_job_fills_memory_behind_addresses_and_each_weight_once_for_any_cut():
    arrays = [np.zeros(300, np.float32) for _ in range(5)]
    expected = [np.zeros(300, np.float32) for _ in range(5)]
    for number, array in enumerate(expected):
        draw(group(array, key=number, row=100, rows=3, block=7, step=7, stride=7, span=300))
    law_and_runs = group(None, row=100, rows=3, block=7, step=7, stride=7, span=300)[:-2]
    addresses = tuple(array.ctypes.data for array in arrays)
    job, weights = config.kernel.draw(0, kernel._TABLE, ((*law_and_runs, addresses, tuple(range(5))),), 0)
    assert weights == 1500
    assert not any(array.any() for array in arrays)
    for first in range(0, 1500, 11):
        config.kernel.fill(job, first, first + 11)
    assert all((array == other).all() for array, other in zip(arrays, expected, strict=True))
    for first, last in [(-1, 1), (2, 1)]:
        with pytest.raises(ValueError, match="are no part of the job"):
            config.kernel.fill(job, first, last)
    with pytest.raises(ValueError, match="Capsule"):
        config.kernel.fill(None, 0, 1)


def test_a_failed_allocation_leaves_all_memory_as_it_is():
    testcapi = pytest.importorskip("_testcapi")
    if not hasattr(testcapi, "set_nomemory"):
        pytest.skip("this Python cannot fail allocations")
    arrays = tuple(np.zeros(64, np.float32) for _ in range(5))
    groups = ((*group(None)[:-2], arrays, tuple(range(5))),) * 3
    path, table, make_job = 0, kernel._TABLE, config.kernel.draw
    failed = 0
    for allocation in range(40):
        error = None
        testcapi.set_nomemory(allocation, allocation + 1)
        try:
            make_job(path, table, groups, 0)
        except MemoryError as raised:
            error = raised
        finally:
            testcapi.remove_mem_hooks()
        failed += error is not None
    assert failed >= 5
    assert not any(array.any() for array in arrays)
    assert len({sys.getrefcount(array) for array in arrays}) == 1

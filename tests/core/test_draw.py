"""Boxes, memory and threads: every way to draw gives the same weights."""

import math
import mmap
import sys
import threading

import numpy as np
import pytest
from endless_draws import assert_ctrl_c_stops
from hypothesis import assume, given
from hypothesis import strategies as st

from initlib import (
    delta_orthogonal,
    dirac,
    get_num_threads,
    glorot_uniform,
    he_normal,
    icnr,
    identity,
    normal,
    ones,
    orthogonal,
    set_num_threads,
    sparse,
    uniform,
    zero_hadamard,
)
from initlib.stream import config, runs, threads
from initlib.stream.boxes import box_shape, flat_boxes

DTYPES = ["float16", "bfloat16", "float32", "float64"]


def bits(array):
    return array.view({2: np.uint16, 4: np.uint32, 8: np.uint64}[array.itemsize])


@st.composite
def weights(draw):
    """A shape, its axes, and an index of it."""
    axes = draw(st.lists(st.tuples(st.sampled_from("BIOIO"), st.integers(1, 3), st.integers(0, 20)), max_size=4))
    shape = tuple(n * size for _, n, size in axes)
    string = "".join(letter if n == 1 else f"({n} {letter})" for letter, n, _ in axes) or None
    entries = []
    for size in shape:
        ends = st.none() | st.integers(-size - 2, size + 2)
        step = st.none() | st.sampled_from([1, 2, 3, 7, -1, -2, -5])
        entry = st.builds(slice, ends, ends, step)
        entries.append(draw(entry | st.integers(-size, size - 1) if size else entry))
    return shape, string, tuple(entries)


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "reference"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_box_equals_the_box_of_the_full_weight(kernel, dtype, monkeypatch):
    if not kernel:
        monkeypatch.setattr(config, "kernel", None)

    @given(weights(), st.integers(0, 2**64 - 1))
    def check(weight, seed):
        shape, axes, index = weight
        whole = uniform(-1, 1)(shape, dtype, axes=axes, seed=seed)
        box = uniform(-1, 1)(shape, dtype, axes=axes, seed=seed, index=index)
        assert box.shape == whole[index].shape
        assert np.array_equal(bits(box), bits(whole[index].reshape(box.shape)))

    check()


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "reference"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_memory_is_filled(kernel, dtype, monkeypatch):
    """Transposed, sliced and reversed memory; memory beside it is not changed."""
    if not kernel:
        monkeypatch.setattr(config, "kernel", None)

    @given(weights(), st.data())
    def check(weight, data):
        shape, axes, index = weight
        expected = normal()(shape, dtype, axes=axes, seed=5, index=index)
        order = data.draw(st.permutations(range(expected.ndim)))
        steps = [data.draw(st.sampled_from([1, 2, -1, -3])) for _ in order]
        room = np.full([expected.shape[k] * 3 + 1 for k in order], 7, expected.dtype).transpose(np.argsort(order))
        where = tuple(
            slice(None, size * step, step) if step > 0 else slice(size * -step, 0, step)
            for size, step in zip(expected.shape, steps, strict=True)
        )
        out = room[(*where, ...)]
        assert out.shape == expected.shape
        assert normal()(shape, dtype, axes=axes, seed=5, index=index, out=out) is out
        assert np.array_equal(bits(out), bits(expected.reshape(out.shape)))
        out[...] = 7
        assert (room == 7).all()

    check()


@pytest.mark.parametrize("axes", ["IO", "OI", "(8 O)I"])
def test_threads_do_not_change_the_weights(axes):
    before = get_num_threads()
    drawn = []
    try:
        for threads in (1, 2, 3, 16):
            set_num_threads(threads)
            assert get_num_threads() == threads
            drawn.append(he_normal((2048, 1111), seed=9, axes=axes))
    finally:
        set_num_threads(before)
    for other in drawn[1:]:
        assert np.array_equal(bits(drawn[0]), bits(other))
    corner = he_normal((2048, 1111), seed=9, axes=axes, index=(slice(-3, None), slice(-5, None)))
    assert np.array_equal(drawn[0][-3:, -5:], corner)


@pytest.mark.skipif(config.kernel is None, reason="the reference draws on one thread")
@given(weights(), st.integers(0, 2**64 - 1), st.integers(1, 16))
def test_no_number_of_threads_changes_any_weight(weight, seed, threads):
    """Blocks have a few weights, so that threads share a small weight as they share a large weight."""
    shape, axes, index = weight
    assume(math.prod(shape) < 2**14)
    expected = normal()(shape, axes=axes, seed=seed, index=index)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("initlib.stream.threads.LEAST", 8)
        patch.setattr("initlib.stream.threads.MOST", 64)
        for name in ("ROW", "PATTERN", "PLAIN"):
            patch.setattr(runs, name, 16)
        patch.setattr(config, "_threads", threads)
        runs.runs.cache_clear()
        drawn = normal()(shape, axes=axes, seed=seed, index=index)
    runs.runs.cache_clear()
    assert np.array_equal(drawn.view(np.uint32), expected.view(np.uint32))


def test_weights_in_another_storage_order_are_a_transpose():
    keras = he_normal((3, 3, 32, 64), seed=4)
    assert np.array_equal(he_normal((64, 32, 3, 3), axes="OIHW", seed=4), keras.transpose(3, 2, 0, 1))
    assert np.array_equal(he_normal((64, 3, 3, 32), axes="OHWI", seed=4), keras.transpose(3, 0, 1, 2))
    dense = glorot_uniform((784, 128), seed=4)
    assert np.array_equal(glorot_uniform((128, 784), axes="OI", seed=4), dense.T)
    packed = he_normal((3, 64, 50), axes="BOI", seed=4)
    assert np.array_equal(he_normal((192, 50), axes="(3 O)I", seed=4), packed.reshape(192, 50))


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((2**40, 2**20), None), ((2**20, 2**40), "OI"), ((2**31, 2**32), "OI"), ((3 * 2**40, 5), "(3 O)I")],
)
def test_a_box_of_a_weight_larger_than_memory_can_be_drawn(shape, axes):
    """The kernel and the reference agree at the far corner, also in transposed storage."""
    index = (slice(-20, None, 3), slice(-300, None, 7))
    kernel = he_normal(shape, seed=1, axes=axes, index=index)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "kernel", None)
        assert np.array_equal(he_normal(shape, seed=1, axes=axes, index=index), kernel)
    if axes == "OI":
        turned = he_normal(shape[::-1], seed=1, index=index[::-1])
        assert np.array_equal(turned.T, kernel)


def test_a_memmap_is_filled(tmp_path):
    out = np.memmap(tmp_path / "weight.bin", np.float32, "w+", shape=(300, 70))
    assert he_normal((300, 70), seed=1, out=out) is out
    out.flush()
    stored = np.fromfile(tmp_path / "weight.bin", np.float32).reshape(300, 70)
    assert np.array_equal(stored, he_normal((300, 70), seed=1))


def test_strides_that_interleave_without_an_overlap_can_be_filled():
    memory = np.full(8, 9.0, np.float32)
    he_normal((2, 3), seed=0, out=np.lib.stride_tricks.as_strided(memory, (2, 3), (12, 8)))
    assert memory[[[0, 2, 4], [3, 5, 7]]].tolist() == he_normal((2, 3), seed=0).tolist()
    assert (memory[[1, 6]] == 9).all()


def read_only():
    out = np.zeros((4, 6), np.float32)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize("initializer", [he_normal, ones], ids=["he_normal", "ones"])
@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ([[0.0]], TypeError, "out must be a numpy.ndarray, got list"),
        (np.zeros((6, 4), np.float32), ValueError, "out must have the shape (4, 6) of the draw, got (6, 4)"),
        (np.zeros((4, 6), np.float64), ValueError, "out must have the dtype float32 of the draw, got float64"),
        (np.zeros((4, 6), ">f4"), ValueError, "out must have the dtype float32 of the draw, got >f4"),
        (read_only(), ValueError, "out must be writeable, got a read-only array"),
        (
            np.lib.stride_tricks.as_strided(np.zeros(9, np.float32), (4, 6), (4, 4)),
            ValueError,
            "must not overlap itself",
        ),
        (
            np.lib.stride_tricks.as_strided(np.zeros(9, np.float32), (4, 6), (0, 4)),
            ValueError,
            "must not overlap itself",
        ),
        (np.zeros(97, np.uint8)[1:].view(np.float32).reshape(4, 6), ValueError, "must be aligned"),
        (np.zeros((4, 6), [("w", "f4"), ("x", "i2")])["w"], ValueError, "must be aligned"),
    ],
)
def test_wrong_memory_is_an_error_and_stays_unchanged(initializer, out, error, message):
    before = np.array(out, copy=True)
    with pytest.raises(error) as raised:
        initializer((4, 6), seed=0, out=out)
    assert message in str(raised.value)
    assert np.array_equal(before, np.array(out))


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        ((0, 0, 0), ValueError, "index must name at most 2 axes of shape (4, 6), got (0, 0, 0)"),
        ((4,), ValueError, "index must be inside axis 0 of shape (4, 6), got 4"),
        ((0, -7), ValueError, "index must be inside axis 1 of shape (4, 6), got -7"),
        (1.5, TypeError, "index must be an int, a slice, ... or a tuple of them, got 1.5"),
        ((slice(0.5, 2),), TypeError, "slices of ints"),
        ([0, 1], TypeError, "index must be an int"),
        (np.array([0, 1]), TypeError, "index must be an int"),
        ((None, 0), TypeError, "index must be an int"),
        (True, TypeError, "index must be an int"),
        ((..., ...), TypeError, "index must be an int"),
        ((slice(None, None, 0),), ValueError, "zero"),
    ],
)
def test_a_wrong_index_is_an_error(index, error, message):
    with pytest.raises(error) as raised:
        he_normal((4, 6), seed=0, index=index)
    assert message in str(raised.value)


def test_an_index_may_have_an_ellipsis():
    whole = he_normal((4, 3, 5), seed=0)
    for index in [..., (..., 2), (1, ...), (slice(1, 3), ..., -1), ()]:
        assert np.array_equal(he_normal((4, 3, 5), seed=0, index=index), whole[index])


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2"])
def test_a_wrong_number_of_threads_is_an_error(threads):
    before = get_num_threads()
    with pytest.raises((TypeError, ValueError), match="threads must be"):
        set_num_threads(threads)
    assert get_num_threads() == before


@given(weights(), st.data())
def test_a_flat_range_equals_the_range_of_the_full_weight(weight, data):
    shape, axes, _ = weight
    whole = normal()(shape, axes=axes, seed=3).reshape(-1)
    start = data.draw(st.integers(0, whole.size))
    stop = data.draw(st.integers(start, whole.size))
    for scheme in (normal(), orthogonal()) if len(shape) > 1 else (normal(),):
        whole = scheme(shape, axes=axes, seed=3).reshape(-1)
        assert np.array_equal(scheme(shape, axes=axes, seed=3, flat=slice(start, stop)), whole[start:stop])
    every_other = np.full(2 * (stop - start), 7, np.float32)[::2]
    assert np.array_equal(
        normal()(shape, axes=axes, seed=3, flat=slice(start, stop), out=every_other),
        normal()(shape, axes=axes, seed=3).reshape(-1)[start:stop],
    )


@pytest.mark.parametrize("shape", [(7,), (5, 6), (4, 3, 5), (2, 3, 4, 5)])
def test_a_flat_range_is_a_few_boxes(shape):
    size = math.prod(shape)
    for start in range(size):
        for stop in range(start + 1, size + 1):
            boxes = list(flat_boxes(start, stop, shape))
            assert sum(math.prod(box_shape(box)) for _, box in boxes) == stop - start  # the cost is that of the range
            assert len(boxes) <= 2 * len(shape) - 1


def test_a_flat_range_of_a_weight_larger_than_memory_can_be_drawn():
    shape, middle = (2**30, 2**20), 2**29
    before = he_normal(shape, seed=0, index=(middle - 1, slice(-2, None)))
    after = he_normal(shape, seed=0, index=(middle, slice(0, 2)))
    across = he_normal(shape, seed=0, flat=slice(middle * 2**20 - 2, middle * 2**20 + 2))
    assert np.array_equal(across, np.append(before, after))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"flat": slice(0, 4, 2)}, ValueError, "flat must have the step 1"),
        ({"flat": 3}, TypeError, "flat must be a slice such as"),
        ({"flat": slice("a", 3)}, TypeError, "flat must be a slice of ints"),
        ({"flat": slice(0, 3), "index": 0}, ValueError, "index and flat must not both be given"),
        ({"flat": slice(0, 3), "out": np.zeros((3, 1), np.float32)}, ValueError, "out must have the shape"),
    ],
)
def test_a_wrong_flat_range_is_an_error(arguments, error, message):
    with pytest.raises(error, match=message):
        he_normal((4, 6), seed=0, **arguments)
    assert he_normal((4, 6), seed=0, flat=slice(3, 3)).shape == (0,)
    assert he_normal((4, 6), seed=0, flat=slice(-3, None)).shape == (3,)


def test_an_error_in_a_thread_reaches_the_caller():
    def work(first, last):
        if first <= 3 < last:
            raise MemoryError("block 3")

    with pytest.raises(MemoryError, match="block 3"):
        threads._in_threads(work, 1000, 1, 5, 4)


def test_a_draw_keeps_no_reference_to_its_memory():
    before = get_num_threads()
    set_num_threads(8)
    try:
        for _ in range(100):
            memory = mmap.mmap(-1, 4 * 2**20)
            he_normal((2**10, 2**10), seed=0, out=np.frombuffer(memory, np.float32).reshape(2**10, 2**10))
            memory.close()  # raises while a view of the memory exists
    finally:
        set_num_threads(before)


@pytest.mark.skipif(config.kernel is None, reason="the reference draws on one thread")
def test_one_thread_draws_all_if_no_other_can_start(monkeypatch):
    def refused(function, arguments):
        raise RuntimeError("can't start new thread")

    expected = he_normal((2**10, 2**10), seed=0)
    monkeypatch.setattr(threads._thread, "start_new_thread", refused)
    assert np.array_equal(he_normal((2**10, 2**10), seed=0), expected)


def test_every_block_is_drawn_once():
    done = []
    lock = threading.Lock()

    def work(first, last):
        with lock:
            done.extend(range(first, last))

    threads._in_threads(work, 1001, 7, 50, 5)
    assert sorted(done) == list(range(1001))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("kernel", ["", "0"])
def test_ctrl_c_ends_a_large_draw(kernel):
    assert_ctrl_c_stops(
        """
import numpy as np
from initlib import he_normal

arrays = [np.zeros(2**20, np.float32)]
draw = lambda: he_normal(arrays[0].shape, axes="I", seed=0, out=arrays[0])
""",
        kernel,
    )


@pytest.mark.parametrize(
    ("scheme", "shape"),
    [
        (sparse(0.5), (3,)),
        (orthogonal(), (3,)),
        (dirac(), (3,)),
        (identity(), (3, 3, 3)),
        (icnr(he_normal, 2), (3, 3, 3)),
        (delta_orthogonal(), (3, 4, 2)),
    ],
    ids=str,
)
def test_an_empty_box_of_an_impossible_shape_is_an_error(scheme, shape):
    nothing = slice(0, 0)
    for index in (nothing, 0):
        with pytest.raises(ValueError, match=r"axes|shape"):
            scheme(shape, seed=0, index=index)


@pytest.mark.parametrize("drawn_by", ["the kernel", "the reference"])
def test_axes_may_have_nearly_2_64_indices(drawn_by, request):
    if drawn_by == "the reference":
        request.getfixturevalue("reference")
    last = 2**64 - 2
    assert normal()((last + 1,), seed=0, index=last) == normal()((last + 1,), seed=0, index=slice(-1, None))
    assert dirac()((2**63, 1), index=(slice(None, None, 2**62), 0)).tolist() == [1, 0]
    assert zero_hadamard()((1, 2**63), index=(0, 5)) == np.float32(2**-31.5)
    assert dirac()((4, 4), index=(slice(None, None, 10**20), slice(0, 2, -(10**20)))).shape == (1, 0)

"""Compiled kernel: each path gives the bits of the reference, in every branch."""

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
    {"row": 2**63 - 1, "last": 2**63 - 1, "block": 1, "stride": 1},
    {"block": 2**63 - 1, "row": 2**62, "last": 1},
    {"rows": 4, "row": 2**62, "block": 1, "last": 2**63 - 1},
    *({"offset": far} for far in FAR),
    *({"stride": far, "row": 24, "last": 3} for far in FAR),
    *({"scatter": far} for far in FAR),
    *({"scatter": far, "offset": -far - (far == -(2**63))} for far in FAR),
]


@pytest.mark.parametrize("extreme", EXTREMES, ids=str)
def test_runs_beyond_all_memory_are_an_error(extreme):
    usual = {"rows": 1, "row": 8, "block": 8, "offset": 0, "stride": 0, "scatter": None, "first": 0, "last": 1}
    given = usual | extreme
    out, bases = np.zeros(64, np.float32), np.zeros(given["rows"], np.uint64)
    offsets = np.full(given["rows"], given["offset"], np.int64)
    scatter = None if given["scatter"] is None else np.full(8, given["scatter"], np.int64)
    runs = (bases, offsets, given["row"], given["block"], 0, given["stride"], None, scatter)
    law = (True, 0, 2**32, -(2**24), 2**24, 1.0, 0.0)
    with pytest.raises(ValueError, match="the runs do not fit the memory"):
        config.kernel.fill(0, out, 1, 0, *law, kernel._TABLE, *runs, given["first"], given["last"])
    assert (out == 0).all()

"""The kernel: each of its paths gives the bits of the reference, in every branch that it takes."""

import numpy as np
import pytest

from initlib import Key, config, he_normal, normal, truncated_normal, uniform

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
def test_bits_of_the_reference(initializer, dtype):
    """Enough weights that all but the rarest rows of the table are read."""
    shape = (301, 331)
    assert initializer(shape, dtype, seed=3).tobytes() == by_reference(initializer, shape, dtype, seed=3).tobytes()


@pytest.mark.usefixtures("path")
def test_the_rarest_tails():
    """Where the word is nearest to 0 or to 2**32 among many, the rows of the table are the first ones."""
    size = 2**22
    word = Key(1).bits(size)
    tail = np.minimum(word, ~word)
    for at in np.argsort(tail)[:20].tolist():
        box = {"seed": 1, "index": slice(max(0, at - 40), at + 40)}
        assert (normal()(size, **box) == by_reference(normal(), size, **box)).all()


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("size", [1, 2, 31, 63, 64, 65, 127, 128, 200])
def test_any_number_of_weights(size):
    whole = by_reference(he_normal, (500,), seed=7)
    assert (he_normal((500,), seed=7, index=slice(100, 100 + size)) == whole[100 : 100 + size]).all()
    every_third = slice(2, 2 + 3 * size, 3) if size < 160 else slice(0, 200)
    assert (he_normal((500,), seed=7, index=every_third) == whole[every_third]).all()


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("step", [1, 7, -1])
def test_positions_past_32_bits(step):
    box = slice(2**33 - 150, 2**33 + 150) if step > 0 else slice(2**33 + 150, 2**33 - 150, step)
    box = slice(box.start, box.stop, step)
    drawn = he_normal((2**34,), seed=11, index=box)
    assert (drawn == by_reference(he_normal, (2**34,), seed=11, index=box)).all()


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("dtype", DTYPES)
def test_strided_memory(dtype):
    whole = by_reference(he_normal, (40, 50), dtype, seed=5)
    out = np.zeros((80, 150), whole.dtype)
    he_normal((40, 50), dtype, seed=5, out=out[::2, ::3])
    assert (out[::2, ::3] == whole).all()
    out[::2, ::3] = 0
    assert not out.any()


@pytest.mark.usefixtures("path")
def test_words():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "kernel", None)
        words = Key(9).bits((70, 30))
    assert (Key(9).bits((70, 30)) == words).all()

import hashlib
import itertools
import math
import runpy
from pathlib import Path

import numpy as np
import pytest
from engines import ENGINES
from hypothesis import given, settings
from hypothesis import strategies as st

from initlib import Key, glorot_uniform, he_normal, normal, truncated_normal, uniform, variance_scaling
from initlib.stream import reference as stream
from initlib.stream.distributions import window
from initlib.stream.law import WHOLE_LINE
from initlib.stream.normal_table import ROWS
from initlib.stream.numpy_engine import NUMPY

OPS = NUMPY
DTYPES = ["float32", "float64", "float16", "bfloat16"]
INITIALIZERS = [
    he_normal,
    glorot_uniform,
    normal(std=3.0),
    truncated_normal(0.0, 1.0, -0.3, 2.5),
    variance_scaling(1e-6, "fan_out", "normal"),  # subnormal in float16
]
SHAPES = [
    ((), None),
    ((1,), None),
    ((100,), None),
    ((0, 3), "OI"),
    ((7, 130), "IO"),
    ((130, 7), "OI"),
    ((8, 6, 3, 3), "OIHW"),
    ((3, 3, 8, 2), "HWBO"),
    ((12, 70), "(3 O)I"),
    ((24, 5, 3), "(2 (3 O))IK"),
]


def bits(array):
    return array.view({2: np.uint16, 4: np.uint32, 8: np.uint64}[array.itemsize])


@pytest.mark.filterwarnings("ignore:shape .* holds no weights")
@pytest.mark.parametrize("engine", ENGINES[1:], ids=lambda engine: engine.__name__)
@pytest.mark.parametrize("dtype", DTYPES)
def test_engines_give_equal_bits(engine, dtype):
    cases = list(itertools.product(SHAPES, INITIALIZERS))
    if engine.__name__ == "jax_stream":  # each case is compiled: take every shape and every initializer, not all pairs
        cases = list(zip(SHAPES, itertools.cycle(INITIALIZERS)))
    for seed, ((shape, axes), initializer) in enumerate(cases):
        if 0 in shape and engine not in ENGINES[:2]:
            continue  # the fan of an empty weight is 0
        seed = seed * 0x9E3779B97F4A7C15 % 2**64
        expected = initializer(shape, dtype, axes=axes, seed=seed)
        drawn = engine(initializer, shape, dtype, axes, seed)
        assert drawn.dtype == expected.dtype
        assert np.array_equal(bits(drawn), bits(expected)), (initializer, shape, axes, seed)


AXES = st.lists(st.tuples(st.sampled_from("BIO"), st.integers(1, 3), st.integers(1, 12)), min_size=1, max_size=4)


@pytest.mark.parametrize("engine", ENGINES[1:], ids=lambda engine: engine.__name__)
def test_engines_give_equal_bits_for_any_weight(engine):
    @settings(max_examples=12 if engine.__name__ == "jax_stream" else 60)
    @given(AXES, st.integers(0, 2**64 - 1), st.sampled_from(INITIALIZERS), st.sampled_from(DTYPES))
    def check(axes, seed, initializer, dtype):
        shape = tuple(n * size for _, n, size in axes)
        string = "".join(f"({n} {letter})" for letter, n, _ in axes)
        drawn = engine(initializer, shape, dtype, string, seed)
        assert np.array_equal(bits(drawn), bits(initializer(shape, dtype, axes=string, seed=seed)))

    check()


@pytest.mark.parametrize("engine", [*ENGINES[1:3], *ENGINES[4:]], ids=lambda engine: engine.__name__)
@pytest.mark.parametrize("dtype", DTYPES)
def test_engines_give_equal_bits_with_a_mean(engine, dtype):
    """The engines here have compilers that do not fuse the product with the sum."""
    for initializer in (normal(0.1, 2.0), uniform(-1.0, 3.0), truncated_normal(5.0, 1.0, 4.5, 8.0)):
        expected = initializer((9, 33), dtype, seed=1)
        assert np.array_equal(bits(engine(initializer, (9, 33), dtype, None, 1)), bits(expected))


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4), st.lists(st.integers(0, 2**31 - 1), min_size=4))
def test_positions_are_64_bit_sums(strides, indices):
    strides = [stride // (len(strides) * 2**31) + 1 for stride in strides]
    terms = [(np.array([index], np.int32), stride) for index, stride in zip(indices, strides, strict=False)]
    high, low = stream.locate(terms, 2**64, np.zeros(1, np.int32), OPS)
    expected = sum(int(index[0]) * stride for index, stride in terms)
    assert (int(high.view(np.uint32)[0]) << 32) + int(low.view(np.uint32)[0]) == expected


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=50), st.integers(0, 2**32 - 1))
def test_high_product_is_unsigned(words, factor):
    product = stream._multiply_high(np.array(words, np.int32), factor, OPS).view(np.uint32)
    assert [int(high) for high in product] == [(word % 2**32) * factor >> 32 for word in words]


EVERY_WORD = np.arange(-(2**31), 2**31, 1021, dtype=np.int64).astype(np.int32)


def test_uniform_noise_is_odd_symmetric_and_inside():
    noise = stream.uniform(EVERY_WORD)
    assert (noise & 1 == 1).all()
    assert np.abs(noise).max() < 2**24
    assert (stream.uniform(~EVERY_WORD) == -noise).all()


@pytest.mark.parametrize("bounds", [(-math.inf, math.inf), (-2.0, 2.0), (-0.5, 0.5)])
def test_normal_noise_is_symmetric(bounds):
    """Without truncation, words are symmetric. In a window, the distribution is, to the resolution of the CDF."""
    kept = WHOLE_LINE if math.isinf(bounds[0]) else window(*bounds)
    noise = stream.normal(EVERY_WORD, kept, OPS)
    mirrored = -stream.normal(~EVERY_WORD, kept, OPS)
    if math.isinf(bounds[0]):
        assert (noise == mirrored).all()
    assert np.abs(noise - mirrored).max() <= 8


def tails():
    """Return odd tails over every row of the table, with both ends, and 2**22 tails of the stream."""
    for octave in range(31):
        step = max(1, 2**octave // 1024)
        yield np.arange(2**octave, 2 ** (octave + 1), step, dtype=np.int64) | 1
        yield np.array([2 ** (octave + 1) - 1], dtype=np.int64)
    zero = np.zeros(1, np.int32)
    words = stream.words((zero, zero), zero, np.arange(2**22, dtype=np.int32), OPS)
    yield (words >> 1) & (2**31 - 1) | 1


def test_normal_noise_is_the_quantile():
    """|n / 2**21 - z| <= 4e-6 for |z| <= 4, and the tail probability is accurate to 1e-3 up to the largest draw."""
    special = pytest.importorskip("scipy.special")
    worst_z = worst_tail = 0.0
    for tail in tails():
        word = (-tail).astype(np.int32) ^ np.int32(1)  # in the upper half, with ~word | 1 == tail
        noise = stream.normal(word, WHOLE_LINE, OPS).astype(np.float64) / 2**21
        exact = -special.ndtri(tail / 2**32)
        near = exact <= 4
        worst_z = max(worst_z, np.abs(noise - exact)[near].max(initial=0.0))
        worst_tail = max(worst_tail, np.abs(special.ndtr(-noise) / (tail / 2**32) - 1).max())
    assert worst_z <= 4e-6
    assert worst_tail <= 1e-3


def test_products_of_the_cubic_fit_32_bits():
    """The test computes both ends of every row, in exact integers."""
    for c0, c1, c2, c3 in ROWS:
        for u in (0, 2**19, 2**20 - 1):
            v = u >> 5
            q2 = c2 + ((c3 * v) >> 15)
            q1 = c1 + ((q2 * v) >> 15)
            for product in (c3 * v, q2 * v, q1 * (u >> 8), q1 * (u & 255)):
                assert abs(product) < 2**31
            assert abs(c0 + ((q1 * (u >> 8) + ((q1 * (u & 255)) >> 8)) >> 12)) < 2**24


def test_the_frozen_table_is_the_output_of_its_program():
    pytest.importorskip("mpmath")
    program = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "normal_table.py"))
    assert program["source"]() == program["TARGET"].read_text()


# The bits of version 1 are promised: the SHA-256 of these draws never changes.
PROMISE = [
    (lambda: Key(7).bits(1000), "c19db290f91b64ff"),
    (lambda: glorot_uniform((40, 25), seed=7), "a882956dc2d331f8"),
    (lambda: he_normal((40, 25), seed=7), "121cc6699cab0a97"),
    (lambda: normal()((40, 25), "float64", seed=7, name="dense"), "a2bcdf7f21b679cd"),
    (lambda: truncated_normal(0.5, 2.0, -1.0, 3.0)((40, 25), seed=2**64 - 1), "357aa5cec2bf2250"),
    (lambda: he_normal((40, 25), "bfloat16", seed=7), "b0ef1c6cf9e97db8"),
    (lambda: he_normal((40, 25), "float16", seed=7, axes="OI"), "9a802932a99b8b16"),
    (lambda: he_normal(2**63, seed=7, index=slice(2**40 - 500, 2**40 + 500)), "3f70b9e87f2aa24e"),
]


@pytest.mark.parametrize(("draw", "digest"), PROMISE)
def test_the_bits_of_version_1_never_change(draw, digest):
    assert hashlib.sha256(draw().tobytes()).hexdigest()[:16] == digest


@pytest.mark.parametrize("position", [0, 2**31, 2**32 - 1, 2**32, 2**40 + 12345, 2**63 + 1])
def test_a_weight_alone_is_the_weight_of_its_run(position):
    for initializer in (he_normal, glorot_uniform):
        run = initializer(2**63 + 100, seed=3, index=slice(max(0, position - 3), position + 4))
        assert initializer(2**63 + 100, seed=3, index=position) == run[min(3, position)]

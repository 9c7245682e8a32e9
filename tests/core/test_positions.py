"""Weights that follow from their positions: sinusoidal tables, rotary frequencies, and slopes of linear biases."""

import importlib
import math

import numpy as np
import pytest

from initlib import alibi_slopes, rotary_frequencies, sinusoidal
from initlib.schemes._computed import sines

SCHEMES = [
    (sinusoidal(), (40, 24)),
    (sinusoidal(500.0, "halves") * 0.3, (1, 17, 10)),
    (sinusoidal(layout="halves", endpoint=True), (30, 8)),
    (rotary_frequencies(), (64,)),
    (rotary_frequencies(5e5) * 0.125, (1, 1, 32)),
    (alibi_slopes(), (1, 20, 1, 1)),
    (alibi_slopes(16.0), (7,)),
]
IDS = [str(scheme) for scheme, _ in SCHEMES]


@pytest.fixture(scope="module")
def modeling():
    """A function that returns the module of a model of transformers."""
    pytest.importorskip("torch")
    import torchvision_names  # noqa: F401

    pytest.importorskip("transformers")
    return lambda name: importlib.import_module(f"transformers.models.{name}.modeling_{name}")


def ulps(weights, expected):
    """Return the greatest distance of float32 weights from the expected ones, in units in their last place."""
    return float((np.abs(weights.astype(float) - expected) / np.spacing(np.abs(expected).astype(np.float32))).max())


@pytest.mark.parametrize("radians", [0.0, 1e-9, 0.7, math.pi / 4, 3.0, 1e3, 12345.6, 2.0**27 - 1, 2.0**27])
def test_sines_are_within_a_unit_in_the_last_place(radians):
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workprec(200):
        expected = [mpmath.sin(radians), mpmath.cos(radians), -mpmath.sin(radians), -mpmath.cos(radians)]
        for quarters, exact in enumerate(expected):
            value = float(sines(np.array(radians), np.array(quarters)))
            assert abs(value - exact) <= 1.01 * math.ulp(float(exact))


@pytest.mark.parametrize(("positions", "channels"), [(100, 64), (7, 2), (2048, 512)])
def test_sinusoidal_tables_equal_the_formula_of_the_paper(positions, channels):
    row, pair = np.arange(positions)[:, None], np.arange(channels // 2)
    angles = row / 10000.0 ** (2 * pair / channels)
    table = sinusoidal()((positions, channels), "float64")
    assert np.allclose(table[:, ::2], np.sin(angles), rtol=0, atol=1e-12)
    assert np.allclose(table[:, 1::2], np.cos(angles), rtol=0, atol=1e-12)
    halves = sinusoidal(layout="halves")((positions, channels), "float64")
    assert (halves == np.concatenate([table[:, ::2], table[:, 1::2]], 1)).all()


def test_the_endpoint_is_the_longest_wavelength():
    table = sinusoidal(100.0, "halves", endpoint=True)((5, 6), "float64")
    assert np.allclose(table[:, :3], np.sin(np.arange(5)[:, None] * [1, 0.1, 0.01]), atol=1e-15)
    assert (sinusoidal(endpoint=True)((3, 2)) == sinusoidal()((3, 2))).all()  # a single frequency is 1


@pytest.mark.parametrize(
    ("name", "layout"), [("marian", "halves"), ("pegasus", "halves"), ("distilbert", "interleaved")]
)
def test_float32_tables_equal_those_of_transformers(modeling, name, layout):
    import torch

    module = modeling(name)
    if layout == "halves":
        table = getattr(module, f"{name.title()}SinusoidalPositionalEmbedding")(300, 64).create_weight()
    else:
        table = module.create_sinusoidal_embeddings(300, 64, torch.empty(300, 64))
    assert (sinusoidal(layout=layout)((300, 64)) == table.numpy()).all()


@pytest.mark.parametrize("name", ["whisper", "m2m_100"])
def test_tables_of_float32_arithmetic_differ_by_its_rounding(modeling, name):
    module = modeling(name)
    if name == "whisper":
        table = module.sinusoids(300, 64)
    else:
        table = module.M2M100SinusoidalPositionalEmbedding.get_embedding(300, 64)
    assert np.allclose(sinusoidal(layout="halves", endpoint=True)((300, 64)), table.numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("base", [10000.0, 500000.0, 1e6])
@pytest.mark.parametrize("width", [2, 64, 80, 128, 256])
def test_rotary_frequencies_are_within_a_unit_in_the_last_place_of_llama(modeling, base, width):
    llama = modeling("llama")
    config = llama.LlamaConfig(head_dim=width, rope_parameters={"rope_theta": base, "rope_type": "default"})
    expected = llama.LlamaRotaryEmbedding(config).inv_freq.numpy()
    weights = rotary_frequencies(base)(width // 2)
    if width == 80:  # LLaMA also rounds 2 k / 80 to float32
        assert np.allclose(weights, expected, rtol=(math.log(base) + 2) * 2.0**-24, atol=0)
    else:
        assert ulps(weights, expected) <= 1


def test_rotary_frequencies_are_rounded_once():
    mpmath = pytest.importorskip("mpmath")
    weights = rotary_frequencies()(64, "float64")
    assert weights.tolist() == [float(mpmath.mpf(10000) ** (-mpmath.mpf(k) / 64)) for k in range(64)]
    assert (rotary_frequencies()((1, 64)) == weights.astype(np.float32)).all()


def paper_slopes(heads):
    """The slopes of the paper: a geometric sequence for a power of two, else those of two powers of two."""
    if heads & (heads - 1) == 0:
        return [2 ** (-8 * k / heads) for k in range(1, heads + 1)]
    lower = 2 ** int(math.log2(heads))
    return paper_slopes(lower) + paper_slopes(2 * lower)[::2][: heads - lower]


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 12, 16, 20, 32, 40, 112])
def test_slopes_equal_those_of_the_paper(heads):
    assert (alibi_slopes()(heads) == np.array(paper_slopes(heads), np.float32)).all()


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 12, 16, 20, 32, 40, 112])
def test_slopes_equal_those_of_bloom(modeling, heads):
    import torch

    alibi = modeling("bloom").build_alibi_tensor(torch.ones(1, 2, dtype=torch.int64), heads, torch.float32)[:, 0, 1]
    # BLOOM multiplies a rounded base with itself.
    assert np.allclose(alibi_slopes()(heads), alibi.numpy(), rtol=heads * 2.0**-24, atol=0)
    if heads <= 8 and heads & (heads - 1) == 0:
        assert (alibi_slopes()(heads) == alibi.numpy()).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize(("scheme", "shape"), SCHEMES, ids=IDS)
def test_a_box_equals_the_box_of_the_full_weight(scheme, shape, dtype):
    full = scheme(shape, dtype)
    for index in (
        tuple(slice(0, 1) for _ in shape),
        tuple(slice(None, None, -2) for _ in shape),
        tuple(size - 1 for size in shape),
        (..., slice(shape[-1] // 2, None)),
    ):
        assert (scheme(shape, dtype, index=index) == full[index]).all()
    assert (scheme(shape, dtype, flat=slice(3, 6)) == full.ravel()[3:6]).all()


@pytest.mark.parametrize(("scheme", "shape"), SCHEMES, ids=IDS)
def test_std_and_bounds_are_those_of_the_weights(scheme, shape):
    weight = scheme(shape, "float64")
    assert scheme.std(shape) == pytest.approx(weight.std(), rel=1e-12, abs=1e-15)
    low, high = scheme.bounds(shape)
    assert low <= weight.min() <= weight.max() <= high
    assert not scheme.needs_axes
    assert type(scheme).from_config(scheme.get_config()) == scheme


def test_pieces_of_a_large_table_are_those_of_its_boxes():
    table = sinusoidal()((1500, 64))
    assert (table[1400:] == sinusoidal()((1500, 64), index=slice(1400, None))).all()
    assert sinusoidal()((2**27, 2), index=(2**27 - 1, 0)) == np.float32(math.sin(2**27 - 1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sinusoidal(0.5), "base must be at least 1, got 0.5"),
        (lambda: sinusoidal(layout="pairs"), "layout must be one of interleaved, halves, got 'pairs'"),
        (lambda: sinusoidal()(8), r"shape must be \(…, positions, channels\)"),
        (lambda: sinusoidal()((4, 3)), "an even number of channels"),
        (lambda: sinusoidal().check((2**27 + 1, 2)), r"at most 2\*\*27 positions"),
        (lambda: rotary_frequencies()((2, 32)), "shape must have at most one axis longer than 1"),
        (lambda: alibi_slopes(0), "max_bias must be above 0"),
    ],
)
def test_wrong_arguments_are_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
    with pytest.raises(TypeError, match="endpoint must be a bool, got 1"):
        sinusoidal(endpoint=1)

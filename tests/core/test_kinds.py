"""Kinds of initializers: they give the same weights on every engine."""

import numpy as np
import pytest

from initlib import (
    Key,
    alibi_slopes,
    constant,
    delta_orthogonal,
    dirac,
    glorot_uniform,
    he_normal,
    icnr,
    identity,
    kaiming_normal,
    normal,
    orthogonal,
    rotary_frequencies,
    sinusoidal,
    sparse,
    zero_hadamard,
)
from initlib.stream.engine import DrawRequest

RECORDS = [
    (orthogonal(1.5), (20, 12), None),
    (orthogonal(), (12, 5, 3), "(2 O)IW"),
    (orthogonal(), (100, 130), "OI"),
    (delta_orthogonal(0.5), (3, 4, 6, 8), None),
    (identity(2.0), (6, 4), "(2 O)I"),
    (dirac(), (8, 4, 3, 2), "(2 O)IHW"),
    (zero_hadamard(), (3, 6, 17), None),
    (sparse(0.4, 0.5), (10, 30), "OI"),
    (sinusoidal(), (300, 64), None),
    (sinusoidal(layout="halves", endpoint=True) * 0.7, (2, 9, 6), None),
    (rotary_frequencies(), (1, 64), None),
    (alibi_slopes(), (12, 1, 1), None),
    (icnr(he_normal, 2), (3, 3, 4, 8), None),
    (icnr(orthogonal(), 2, "depth_to_space") * 0.5, (3, 3, 4, 8), None),
]


def jax_weight(scheme, shape, axes, dtype="float32"):
    jax = pytest.importorskip("jax")
    from initlib.adapters.jax.drawing.engine import JAX

    words = np.array(Key(3).words, np.uint32)
    return np.asarray(jax.jit(lambda words: scheme.weights(DrawRequest(shape, axes, dtype, words), JAX))(words))


def torch_weight(scheme, shape, axes, dtype="float32"):
    torch = pytest.importorskip("torch")
    from initlib.adapters.torch.drawing.devices import engine_of

    out = torch.empty(shape, dtype=getattr(torch, dtype))
    scheme.fill(out, DrawRequest(shape, axes, dtype, Key(3)), engine_of(out.device))
    return out.numpy()


@pytest.mark.parametrize("engine", [jax_weight, torch_weight])
@pytest.mark.parametrize(("scheme", "shape", "axes"), RECORDS, ids=[str(row) for row in RECORDS])
def test_engines_agree(scheme, shape, axes, engine):
    drawn = engine(scheme, shape, axes)
    weight = scheme(shape, axes=axes, seed=3)
    assert drawn.dtype == np.float32
    if "orthogonal" in repr(scheme):
        assert np.abs(drawn - weight).max() < 1e-6
    else:
        assert (drawn == weight).all()


@pytest.mark.parametrize("engine", [jax_weight, torch_weight])
@pytest.mark.parametrize("scheme", [he_normal, kaiming_normal, glorot_uniform * 2, orthogonal(), normal(0.5)], ids=str)
def test_engines_agree_on_complex_weights(scheme, engine):
    drawn, weight = engine(scheme, (20, 12), "OI", "complex64"), scheme((20, 12), "complex64", axes="OI", seed=3)
    assert drawn.dtype == np.complex64
    assert np.abs(drawn - weight).max() < 2e-6 * np.abs(weight).max()


@pytest.mark.parametrize("engine", [jax_weight, torch_weight])
def test_a_gain_is_rounded_once(engine):
    """In float16, 1 + 2**-11 + 2**-30 rounds to 1 + 2**-10. Rounded to float32 first, the result would be 1."""
    gain = 1 + 2**-11 + 2**-30
    assert identity(gain)((2, 2), "float16")[0, 0] == np.float16(1 + 2**-10)
    assert engine(identity(gain), (2, 2), None, "float16")[0, 0] == np.float16(1 + 2**-10)


def test_float16_overflow_is_an_error():
    out = np.full(3, 7, np.float16)
    with pytest.raises(ValueError, match="overflow float16"):
        constant(1e6)(3, "float16", out=out)
    assert (out == 7).all()

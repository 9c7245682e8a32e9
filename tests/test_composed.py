"""Composed weights: the same lines on every array library."""

import numpy as np
import pytest

from initlib import (
    Key,
    constant,
    delta_orthogonal,
    dirac,
    he_normal,
    icnr,
    identity,
    orthogonal,
    sparse,
    zero_hadamard,
)
from initlib.schemes.composed import NumPyEngine

RECORDS = [
    (orthogonal(1.5), (20, 12), None),
    (orthogonal(), (12, 5, 3), "(2 O)IW"),
    (orthogonal(), (100, 130), "OI"),
    (delta_orthogonal(0.5), (3, 4, 6, 8), None),
    (identity(2.0), (6, 4), "(2 O)I"),
    (dirac(), (8, 4, 3, 2), "(2 O)IHW"),
    (zero_hadamard(), (3, 6, 17), None),
    (sparse(0.4, 0.5), (10, 30), "OI"),
    (icnr(he_normal, 2), (3, 3, 4, 8), None),
    (icnr(orthogonal(), 2, "depth_to_space") * 0.5, (3, 3, 4, 8), None),
]


@pytest.mark.parametrize(("scheme", "shape", "axes"), RECORDS, ids=[str(row) for row in RECORDS])
def test_traced_by_jax(scheme, shape, axes):
    jax = pytest.importorskip("jax")

    class Engine(NumPyEngine):
        xp = jax.numpy

        def draw(self, initializer, shape, dtype, name=None, axes=None):
            return jax.numpy.asarray(super().draw(initializer, shape, dtype, name, axes))

    traced = np.asarray(jax.jit(lambda: scheme.compose(shape, axes, "float32", Engine(Key(3))))())
    weight = scheme(shape, axes=axes, seed=3)
    assert traced.dtype == np.float32
    if "orthogonal" in repr(scheme):
        assert np.abs(traced - weight).max() < 1e-6
    else:
        assert (traced == weight).all()


def test_float16_overflow_is_an_error():
    out = np.full(3, 7, np.float16)
    with pytest.raises(ValueError, match="overflow float16"):
        constant(1e6)(3, "float16", out=out)
    assert (out == 7).all()

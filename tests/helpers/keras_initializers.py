"""Pairs of equal initializers: of the Keras adapter, and of the core."""

import initlib
from initlib.adapters import keras as adapter

RANDOM = {
    "VarianceScaling": (
        lambda **k: adapter.VarianceScaling(1.5, "fan_out", "untruncated_normal", **k),
        initlib.variance_scaling(1.5, "fan_out", "normal"),
    ),
    "VarianceScaling normal": (
        lambda **k: adapter.VarianceScaling(0.1, "fan_avg", "normal", **k),
        initlib.variance_scaling(0.1, "fan_avg", "truncated_normal"),
    ),
    "GlorotNormal": (adapter.GlorotNormal, initlib.glorot_normal),
    "GlorotUniform": (adapter.GlorotUniform, initlib.glorot_uniform),
    "HeNormal": (adapter.HeNormal, initlib.he_normal),
    "HeUniform": (adapter.HeUniform, initlib.he_uniform),
    "LecunNormal": (adapter.LecunNormal, initlib.lecun_normal),
    "LecunUniform": (adapter.LecunUniform, initlib.lecun_uniform),
    "RandomNormal": (lambda **k: adapter.RandomNormal(0.5, 2.0, **k), initlib.normal(0.5, 2.0)),
    "RandomUniform": (lambda **k: adapter.RandomUniform(-1, 2, **k), initlib.uniform(-1, 2)),
    "TruncatedNormal": (lambda **k: adapter.TruncatedNormal(0.5, 2.0, **k), initlib.truncated_normal(0.5, 2.0)),
    "Orthogonal": (lambda **k: adapter.Orthogonal(2.0, **k), initlib.orthogonal(2.0)),
    "delta_orthogonal": (
        lambda **k: adapter.CoreInitializer(initlib.delta_orthogonal(), **k),
        initlib.delta_orthogonal(),
    ),
    "dirac": (lambda **k: adapter.CoreInitializer(initlib.dirac(), **k), initlib.dirac()),
    "fan_geo_avg": (
        lambda **k: adapter.CoreInitializer(initlib.variance_scaling(mode="fan_geo_avg"), **k),
        initlib.variance_scaling(mode="fan_geo_avg"),
    ),
}


ELEMENTWISE = [name for name in RANDOM if name not in ("Orthogonal", "delta_orthogonal", "dirac")]


def jitted(initializer, shape, sharding=None):
    """Return a function that calls the initializer as Keras does for a large sharded variable."""
    import jax

    placed = {} if sharding is None else {"out_shardings": sharding}
    function = jax.jit(initializer.__call__, static_argnames=["shape", "dtype"], **placed)
    return function.lower(shape=shape, dtype="float32").compile()

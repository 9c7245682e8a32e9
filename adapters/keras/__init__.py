"""Keras's initializers, on TensorFlow, JAX and PyTorch: the same weights on each of them, and in the core.

>>> import initlib, keras
>>> from initlib.adapters.keras import HeNormal
>>> weight = HeNormal(seed=5)((3, 4))  # a tensor of Keras's backend
>>> bool((keras.ops.convert_to_numpy(weight) == initlib.he_normal((3, 4), seed=5)).all())
True

Every class and alias of `keras.initializers` is here, with its arguments and their meanings. Two arguments are new:

- `axes` says what the axes of the weight mean, where Keras takes the last two for (input, output): "HWBO" for a
  depthwise kernel, "HWOI" for a transposed one, "I(4 O)" for the four gates of an LSTM, "IOO" for queries of many
  heads, "BIO" for experts. `EinsumDense` hands over its own when none are given.
- `name` gives a layer a stream of its own: `HeNormal(seed=0, name="conv1")` is `he_normal(seed=0, name="conv1")`.

Seeds are Keras's. An int draws the same weights on every call: two layers of one shape that share an initializer start
equal. Give each its own `name` or seed, or share a `SeedGenerator`, which moves on with every call: call c (from 0) of
`SeedGenerator(s)` draws with the key `Key(s).fold_in(c)`, on every backend. None takes a seed from Python's `random`,
once, so `keras.utils.set_random_seed` governs it. `MultiHeadAttention` clones its initializer for queries, keys and
values: with an int or a seeded generator they start equal where their shapes are; with None they do not.

Any other initializer of the core is `CoreInitializer(initlib.dirac(), seed=0)`. A layer takes a bare one too
(`kernel_initializer=initlib.he_normal`): it has no seed, and draws anew on every call. Import this module before saving
or loading a model that has either.

On JAX, what is drawn under `jit`, or for a large variable of `keras.distribution`, is drawn by each device for its own
shard. In a TensorFlow graph a weight is a constant, or, under a `SeedGenerator`, drawn at each run (not by XLA).
"""

from keras.initializers import Initializer, serialize

from .diagnostics.signals import audit, signals
from .init import (
    STFT,
    Constant,
    CoreInitializer,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Identity,
    IdentityInitializer,
    LecunNormal,
    LecunUniform,
    Ones,
    Orthogonal,
    OrthogonalInitializer,
    RandomNormal,
    RandomUniform,
    STFTInitializer,
    TruncatedNormal,
    VarianceScaling,
    Zeros,
    constant,
    deserialize,
    get,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    identity,
    lecun_normal,
    lecun_uniform,
    ones,
    orthogonal,
    random_normal,
    random_uniform,
    stft,
    truncated_normal,
    variance_scaling,
    zeros,
)
from .models.initialize import initialize, plan
from .models.layers import declare
from .models.verify import verify

__all__ = [
    "STFT",
    "Constant",
    "CoreInitializer",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "IdentityInitializer",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "OrthogonalInitializer",
    "RandomNormal",
    "RandomUniform",
    "STFTInitializer",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "audit",
    "constant",
    "declare",
    "deserialize",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "initialize",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "plan",
    "random_normal",
    "random_uniform",
    "serialize",
    "signals",
    "stft",
    "truncated_normal",
    "variance_scaling",
    "verify",
    "zeros",
]

"""Keras adapter: every name of `keras.initializers` with the weights of the core, and whole models.

>>> import initlib, keras
>>> from initlib.adapters.keras import HeNormal
>>> weight = HeNormal(seed=5)((3, 4))  # a tensor of Keras's backend
>>> bool((keras.ops.convert_to_numpy(weight) == initlib.he_normal((3, 4), seed=5)).all())
True

Every class and alias of `keras.initializers` is here, with the same arguments. Two arguments are new:

- `axes` states the roles of the axes. Without `axes`, the last two are (input, output), as in Keras. Examples are
  "HWBO" for a depthwise kernel, "HWOI" for a transposed kernel, "I(4 O)" for the four gates of an LSTM, "IOO" for
  queries of many heads, "BIO" for experts. `EinsumDense` passes its own axes if `axes` is not given.
- `name` gives a layer a stream of its own: `HeNormal(seed=0, name="conv1")` is `he_normal(seed=0, name="conv1")`.

Seeds work as in Keras. An int draws the same weights at every call: two layers of one shape that share an initializer
are equal. Give each layer its own `name` or seed, or share a `SeedGenerator`, which advances at every call. Call c
(from 0) of `SeedGenerator(s)` draws with the key `Key(s).fold_in(c)`, on every backend. `seed=None` takes one seed from
Python's `random`, which `keras.utils.set_random_seed` sets. `MultiHeadAttention` clones its initializer for queries,
keys and values. With an int or a seeded generator, weights of the same shape are equal; with None they differ.

`CoreInitializer` takes any other initializer of the core: `CoreInitializer(initlib.dirac(), seed=0)`.
A layer also takes a bare initializer of the core (`kernel_initializer=initlib.he_normal`), which has no seed and draws
new weights at every call. Import this module before you save or load a model with such initializers.

On JAX, each device draws its own shard, under `jit` and for large variables of `keras.distribution`. In a TensorFlow
graph, a weight is a constant. With a `SeedGenerator`, each run of the graph draws a new weight; XLA cannot compile this
draw.
"""

# mypy: disable-error-code="import-untyped"
# Keras comes without types, so its classes are Any.

from ..common.requirements import not_installed

try:
    from keras.initializers import STFT, Constant, Identity, Initializer, Ones, Zeros, serialize
except ModuleNotFoundError as error:
    raise not_installed(error, "keras") from None

from .diagnostics.audit import audit
from .diagnostics.signals import signals
from .init import (
    CoreInitializer,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    IdentityInitializer,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    OrthogonalInitializer,
    RandomNormal,
    RandomUniform,
    STFTInitializer,
    TruncatedNormal,
    VarianceScaling,
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

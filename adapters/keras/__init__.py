"""Keras adapter: every class of `keras.initializers` with the weights of initlib, and initialization of whole models.

>>> import initlib, keras
>>> from initlib.adapters.keras import HeNormal
>>> weight = HeNormal(seed=5)((3, 4))  # a tensor of Keras's backend
>>> bool((keras.ops.convert_to_numpy(weight) == initlib.he_normal((3, 4), seed=5)).all())
True

Every class and alias of `keras.initializers` is here, with the same arguments. Classes that draw have two more:

- `axes` states the roles of the axes (see `initlib.fans`). Without `axes`, the last two axes are (input, output), as in
  Keras. Write "HWBO" for a depthwise kernel, "HWOI" for a transposed kernel, and "I(4 O)" for the four gates of an
  LSTM. Write "IOO" for queries of many heads, and "BIO" for experts. `EinsumDense` passes its own axes if `axes` is
  None.
- `name` gives a layer its own stream: `HeNormal(seed=0, name="conv1")` draws `he_normal(..., seed=0, name="conv1")`.

Seeds work as in Keras. An int draws the same weights at every call, so two layers of one shape that share an
initializer are equal. Give each layer its own `name` or seed, or share a `SeedGenerator`, which advances at every call.
Call c (from 0) of `SeedGenerator(s)` draws with the key `Key(s).fold_in(c)`, on every backend. `seed=None` takes one
seed from Python's `random`, which `keras.utils.set_random_seed` sets. `MultiHeadAttention` clones its initializer for
queries, keys and values. With an int or a seeded generator, the clones draw equal weights of the same shape. With None
the weights differ.

`CoreInitializer` makes a Keras initializer from any initializer of initlib: `CoreInitializer(initlib.dirac(), seed=0)`.
A layer also accepts an initializer of initlib itself: `kernel_initializer=initlib.he_normal`. Such an initializer has
no seed, and draws new weights at every call. Import this module before you save or load a model with such initializers.

On JAX, each device draws its own shard, under `jit` and for large variables of `keras.distribution`. In a TensorFlow
graph, a weight is a constant. With a `SeedGenerator`, each run of the graph draws a new weight, and XLA cannot compile
the graph.
"""

# mypy: disable-error-code="import-untyped"
# Keras comes without types, so its classes are Any.

from typing import TYPE_CHECKING

from initlib._later import later

from ..common.requirements import not_installed

try:
    from keras.initializers import STFT, Constant, Identity, Initializer, Ones, Zeros, serialize
except ModuleNotFoundError as error:
    raise not_installed(error, "keras") from None

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

if TYPE_CHECKING:
    from ._later_models import *
    from ._later_reports import *
else:
    __getattr__, __dir__ = later(globals(), ("_later_models", "_later_reports"))

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

"""Every initializer for JAX: `jax.nn.initializers`, whose names and signatures these are, with the core's weights.

>>> import jax, initlib
>>> weight = he_normal()(jax.random.key(0), (784, 128))
>>> bool((weight == initlib.he_normal((784, 128), seed=0)).all())
True

The same bits under `jit`, `vmap` and `shard_map`, and on any device or sharding: each device draws its own shard,
and nothing is sent. (Under jit the last bit of `uniform`, whose mean is not 0, is the compiler's.)

Keys are typed or raw, and every word of them counts: two words, of JAX's own threefry, are the core's key; further
pairs of words are enciphered by it. An rbg key made from a seed holds two words twice, and draws what threefry's does.
With `seed=` and `name=` a parameter's weights are those that this seed and name give in every other framework.

Flax: `nn.Dense(128, kernel_init=he_normal())`, `nnx.Linear(784, 128, kernel_init=he_normal(), rngs=rngs)`.
Haiku: `hk.Linear(128, w_init=lambda shape, dtype: he_normal()(hk.next_rng_key(), shape, dtype))`.
Equinox: `eqx.tree_at(lambda m: m.weight, linear, he_normal(axes="OI")(key, linear.weight.shape))`.
"""

from jax.nn.initializers import Initializer, constant, ones, zeros

from .diagnostics.signals import audit, signals
from .drawing.draw import draw
from .drawing.initializer import JaxInitializer
from .init import (
    delta_orthogonal,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    initializer,
    kaiming_normal,
    kaiming_uniform,
    lecun_normal,
    lecun_uniform,
    normal,
    orthogonal,
    truncated_normal,
    uniform,
    variance_scaling,
    xavier_normal,
    xavier_uniform,
)
from .models.initialize import initialize, plan
from .models.layers import declare

__all__ = [
    "Initializer",
    "JaxInitializer",
    "audit",
    "constant",
    "declare",
    "delta_orthogonal",
    "draw",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "initialize",
    "initializer",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "plan",
    "signals",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

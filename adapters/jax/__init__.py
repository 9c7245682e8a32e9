"""JAX adapter: every function of `jax.nn.initializers` with the weights of initlib, and initialization of whole models.

>>> import jax, initlib
>>> weight = he_normal()(jax.random.key(0), (784, 128))
>>> bool((weight == initlib.he_normal((784, 128), seed=0)).all())
True

The bits are the same under `jit`, `vmap` and `shard_map`, on any device and with any sharding. Each device draws its
own shard, and devices exchange no data. There are two exceptions. Under `jit` the compiler decides the last bit of
`uniform`, because its mean is not 0. Orthogonal matrices, logarithms and exponentials (`log_uniform`) agree to 1e-6.

Keys may be typed or raw, and all words of a key are used. The two words of a threefry key are the words of an
`initlib.Key`. In a longer key, each further pair of words that differs from the first pair changes the stream. So an
rbg key and a threefry key of one seed draw the same weights. With `seed=` and `name=`, a parameter has the same weights
as in every other framework.

Flax: `nn.Dense(128, kernel_init=he_normal())`, `nnx.Linear(784, 128, kernel_init=he_normal(), rngs=rngs)`.
Haiku: `hk.Linear(128, w_init=lambda shape, dtype: he_normal()(hk.next_rng_key(), shape, dtype))`.
Equinox: `eqx.tree_at(lambda m: m.weight, linear, he_normal(axes="OI")(key, linear.weight.shape))`.
"""

from typing import TYPE_CHECKING

from initlib._later import later

from ..common.requirements import not_installed

try:
    from jax.nn.initializers import Initializer, constant
except ModuleNotFoundError as error:
    raise not_installed(error, "jax") from None

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
    ones,
    orthogonal,
    truncated_normal,
    uniform,
    variance_scaling,
    xavier_normal,
    xavier_uniform,
    zeros,
)

if TYPE_CHECKING:
    from ._later_models import *
    from ._later_reports import *
else:
    __getattr__, __dir__ = later(globals(), ("_later_models", "_later_reports"))

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
    "parameter_labels",
    "plan",
    "signals",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "verify",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]

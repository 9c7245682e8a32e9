"""JaxInitializer: an initializer of the core that is called with a key, as in JAX."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, SupportsIndex

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike, DTypeLike

import initlib
from initlib import Key
from initlib._arguments import checked_shape
from initlib._public import public
from initlib.axes import parse
from initlib.dtypes import DTYPES
from initlib.key import Seed, as_key

from .axes import Delta, Kernel, Matrix
from .draw import Placement, as_words, draw
from .keys import words_of


@public("initlib.adapters.jax")
@dataclass(frozen=True, eq=False)
class JaxInitializer:
    """An initializer of the core that is called with a key, as in JAX. Every factory here returns a JaxInitializer.

    Equal initializers have equal hashes, so that JAX compiles a model with such an initializer once. An initializer
    that holds a traced number or an array is equal only to itself.

    A seed in a layer that a transform repeats (`nn.scan`, `nnx.vmap`, `jax.vmap`) would make all layers equal. Under
    `vmap` such a seed is a ValueError. Under `scan` the seed cannot be detected. In such a layer omit the seed, or fill
    the model by `initialize` with `stack=`, which gives each layer a stream of its own.

    Args:
        core: the initializer that draws.
        axes: the roles of the axes, such as "OI".
        dtype: the dtype for calls without a dtype; None is JAX's default float.
        seed: a `Key`. With a seed, the key of a call is ignored.
        name: a name that gives the weight a stream of its own under the key, as in every other framework.
        factor: a traced number or an array that multiplies the weights.
        theirs: an initializer of JAX that draws if the core has no such initializer.

    Example:
        >>> import jax
        >>> from initlib.adapters.jax import he_normal
        >>> init = he_normal(axes="OI", name="conv1")
        >>> jax.jit(init, static_argnums=(1, 2))(jax.random.key(0), (128, 784), "bfloat16").dtype
        dtype(bfloat16)
    """

    core: initlib.Initializer
    axes: str | Kernel | Matrix | Delta | None = None
    dtype: DTypeLike | None = None
    seed: Key | None = None
    name: str | None = None
    factor: ArrayLike | None = None
    theirs: Initializer | None = None

    @property
    def __name__(self) -> str:
        """Return the public name of the core's initializer."""
        return self.core.factory

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JaxInitializer) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> object:
        """Return the fields; only the `id` where a field, such as a traced number, cannot be compared."""
        if self.theirs is not None or not isinstance(self.factor, (float, NoneType)):
            return id(self)
        return self.core, self.axes, self.dtype, self.seed, self.name, self.factor

    def __call__(
        self,
        key: ArrayLike | None,
        shape: Sequence[SupportsIndex] | int,
        dtype: DTypeLike | None = None,
        out_sharding: Placement = None,
    ) -> jax.Array:
        """Draw the weight of a shape.

        Args:
            key: a key of JAX, typed or raw; ignored if the initializer has a seed.
            shape: the sizes of the axes. A symbolic shape of `jax.export` is refused.
            dtype: a float or complex dtype; None is the initializer's own.
            out_sharding: the sharding of the weight; each device draws its own shard.

        Returns:
            The weight.

        Raises:
            TypeError: an argument has a wrong type.
            ValueError: the shape and the axes do not fit, or a seed would make layers of a `vmap` equal.
        """
        if isinstance(shape, int) and isinstance(dtype, int):
            sizes = (shape, dtype, *([out_sharding] if isinstance(out_sharding, int) else []))
            raise TypeError(
                f"shape must be one argument, got {', '.join(map(str, sizes))}. Call the initializer with "
                f"(key, {sizes})."
            )
        shape = checked_shape(shape)
        wanted = _dtype_name(self.dtype if dtype is None else dtype, self.core.factory)
        axes = self.axes if self.axes is None or isinstance(self.axes, str) else self.axes.of(shape)
        words: Key | jax.Array
        if self.seed is None:
            words = words_of(key, self.name, self.core.factory)
        else:
            if isinstance(key, jax.core.Tracer):
                _one_layer(key)
            words = as_key(self.seed, self.name)
        if self.theirs is not None:
            typed: Any = jax.random.wrap_key_data(as_words(words), impl="threefry2x32")
            return self.theirs(typed, shape, wanted, out_sharding)  # type: ignore[arg-type]  # or any other sharding
        drawn = wanted if wanted in DTYPES else "float32"
        weight = draw(self.core, words, shape, drawn, axes, out_sharding)
        if self.factor is not None:
            weight = weight * jnp.asarray(self.factor, drawn)
        return weight if drawn == wanted else weight.astype(wanted)


@custom_vmap
def _one_layer(key: Any) -> Any:
    """Return the key, unless `vmap` maps over it."""
    return key


@_one_layer.def_vmap
def _many_layers(size: int, batched: list[bool], key: Any) -> Any:
    raise ValueError(
        f"seed must be None under vmap, got a seed that would make all {size} layers equal. Leave seed= out, because "
        "the keys differ, or fill the model by initialize(..., stack=...)"
    )


def _dtype_name(dtype: DTypeLike | None, caller: str) -> str:
    """Return the name of the dtype that JAX uses for a dtype, with JAX's own warning where the two differ."""
    if dtype is None:
        return str(jax.dtypes.canonicalize_dtype(float).name)
    name = str(jnp.dtype(dtype).name)
    if name not in ("float32", "bfloat16", "float16"):
        name = str(jnp.zeros((), dtype).dtype.name)
        if not jnp.issubdtype(name, jnp.inexact):
            raise ValueError(f"dtype argument to `{caller}` must be a float or complex dtype, got {name}")
    return name


def jax_initializer(
    core: initlib.Initializer,
    roles: Kernel | Matrix | Delta | None,
    dtype: DTypeLike | None,
    factor: ArrayLike | None = None,
    theirs: Initializer | None = None,
    *,
    axes: str | None = None,
    seed: Seed = None,
    name: str | None = None,
) -> JaxInitializer:
    """Return the initializer of checked arguments; `seed` is anything that stands for a key of the core."""
    if axes is not None:
        parse(axes)
        if roles not in (None, Kernel(-2, -1, ()), Matrix(-1), Delta()):
            raise ValueError(f"axes must be given alone, got axes {axes!r} and {roles}. Omit one of the two.")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r}")
    key = None if seed is None else as_key(seed)
    return JaxInitializer(core, roles if axes is None else axes, dtype, key, name, factor, theirs)

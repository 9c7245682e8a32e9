"""Draws in JAX: by the compiled kernel for a known key on one CPU, by traced operations otherwise."""

import math
import warnings
from collections.abc import Callable, Hashable
from functools import lru_cache, partial
from types import NoneType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec, Sharding
from jax.typing import ArrayLike
from numpy.typing import NDArray

from initlib import Initializer, Key
from initlib._public import public
from initlib.axes import match
from initlib.dtypes import DTYPES, numpy_dtype
from initlib.stream.engine import DrawRequest

from .engine import JAX

ALIGNMENT = 64  # bytes: JAX takes over NumPy's memory without a copy if it is aligned like this

Placement = Sharding | PartitionSpec | None


@public("initlib.adapters.jax")
def draw(
    initializer: Initializer,
    words: Key | ArrayLike,
    shape: tuple[int, ...],
    dtype: str,
    axes: str | None = None,
    out_sharding: Placement = None,
) -> jax.Array:
    """Draw a weight of the core as a JAX array.

    The bits do not depend on the code that draws. With a known key on one CPU, the compiled kernel draws into memory
    that JAX takes over. Otherwise each device computes its own positions. With an `out_sharding`, no array of full size
    is made and devices exchange no data.

    Args:
        initializer: an initializer of the core.
        words: a `Key`, or its two words as a uint32 array of shape (2,), which may be traced.
        shape: the sizes of the axes.
        dtype: float16, bfloat16, float32, float64, complex64 or complex128.
        axes: the roles of the axes, such as "OI"; None is "...IO".
        out_sharding: a sharding, or a `PartitionSpec` inside `jax.set_mesh`; None draws on the device of the words.

    Returns:
        The weight.

    Raises:
        TypeError: `out_sharding` is neither a sharding nor a `PartitionSpec`.
        ValueError: `out_sharding` is a `PartitionSpec` and no mesh is set, or `axes` does not fit the shape.

    Example:
        >>> import initlib
        >>> draw(initlib.he_normal, initlib.Key(0), (784, 128), "float32").shape
        (784, 128)
    """
    if dtype in DTYPES:
        dtype = jax.dtypes.canonicalize_dtype(dtype).name
    if not isinstance(out_sharding, (Sharding, PartitionSpec, NoneType)):
        raise TypeError(f"out_sharding must be a sharding, a PartitionSpec or None, got {out_sharding!r}")
    out_sharding = _of_all_axes(out_sharding, len(shape))
    mesh = jax.sharding.get_abstract_mesh()
    if isinstance(out_sharding, PartitionSpec) and mesh.empty:
        raise ValueError(
            f"out_sharding must have a mesh, got {out_sharding}. Enter jax.set_mesh, or pass a NamedSharding"
        )
    array = as_words(words)
    recipe = (initializer, shape, dtype, axes)
    if isinstance(array, jax.core.Tracer):
        return compiled(None)(traced, recipe, out_sharding, array)
    if out_sharding is not None:
        # As an array of NumPy the words are free of the device that they were on.
        return compiled(out_sharding)(traced, recipe, out_sharding, np.asarray(array))
    device, *others = array.devices()
    if not mesh.empty or device.platform != "cpu" or others:
        return compiled(None)(traced, recipe, None, array)
    out = memory(shape, dtype)
    initializer(shape, dtype, axes=axes, seed=known_key(words), out=out)
    return jax.device_put(out, device if array.committed else None)


def as_words(key: Key | ArrayLike) -> jax.Array:
    """Return the two words of a key, which may be traced."""
    if isinstance(key, jax.Array):
        return key
    return jnp.asarray(key.words if isinstance(key, Key) else key, jnp.uint32)


def known_key(words: Key | ArrayLike) -> Key:
    """Return the key of two known words."""
    if isinstance(words, Key):
        return words
    high, low = np.asarray(words).tolist()
    return Key(high << 32 | low)


def _of_all_axes(sharding: Any, ndim: int) -> Any:
    """Return the sharding with an entry for each axis, as JAX's functions have it: P("x") of two is P("x", None)."""
    if isinstance(sharding, PartitionSpec):
        return PartitionSpec(*sharding, *[None] * (ndim - len(sharding)))
    if isinstance(sharding, NamedSharding):
        return NamedSharding(sharding.mesh, _of_all_axes(sharding.spec, ndim), memory_kind=sharding.memory_kind)
    return sharding


def memory(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Return memory of NumPy's, not filled, that JAX takes over without a copy."""
    size = math.prod(shape) * numpy_dtype(dtype).itemsize
    block = np.empty(size + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size].view(numpy_dtype(dtype)).reshape(shape)


def traced(
    initializer: Initializer, shape: tuple[int, ...], dtype: str, axes: str | None, words: jax.Array
) -> jax.Array:
    """Draw by JAX's own operations, from words that may be traced."""
    match(shape, axes)
    if 0 in shape:
        if initializer.uses_fans:
            warnings.warn(f"shape {shape} holds no weights: nothing is drawn", UserWarning, stacklevel=2)
        return jnp.zeros(shape, dtype)
    return initializer.weights(DrawRequest(shape, axes, dtype, words), JAX).astype(dtype)


@lru_cache(maxsize=256)
def compiled(out_sharding: Placement) -> Callable[..., jax.Array]:
    """Return `placed`, compiled for outputs of that sharding; None draws where the operands are."""
    return jax.jit(placed, static_argnums=(0, 1, 2), inline=True, out_shardings=out_sharding)


def placed(
    function: Callable[..., jax.Array], recipe: tuple[Hashable, ...], out_sharding: Placement, *operands: Any
) -> jax.Array:
    """Return the result of a function of a recipe and of operands that may be traced, with that sharding."""
    make = partial(function, *recipe)
    if out_sharding is None:
        return make(*operands)
    if isinstance(out_sharding, PartitionSpec):
        out_sharding = NamedSharding(jax.sharding.get_abstract_mesh(), out_sharding)
    explicit = out_sharding.mesh.explicit_axes if isinstance(out_sharding, NamedSharding) else ()
    if explicit:
        return jax.sharding.auto_axes(make, axes=explicit, out_sharding=out_sharding)(*operands)
    return lax.with_sharding_constraint(make(*operands), out_sharding)

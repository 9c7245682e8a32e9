"""Draws in JAX: by the compiled kernel for a known key on one CPU, by traced operations otherwise."""

import math
import warnings
from collections.abc import Callable
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
    array = words if isinstance(words, jax.Array) else jnp.asarray(as_words(words))
    if isinstance(array, jax.core.Tracer):
        return compiled(None)(array, initializer, shape, dtype, axes, out_sharding)  # type: ignore[no-any-return]
    if out_sharding is not None:
        # As an array of NumPy the words are free of the device that they were on.
        return compiled(out_sharding)(as_words(array), initializer, shape, dtype, axes, out_sharding)  # type: ignore[no-any-return]
    device, *others = array.devices()
    if mesh.empty and device.platform == "cpu" and not others:
        return _by_kernel(initializer, known_key(words), shape, dtype, axes, device if array.committed else None)
    return compiled(None)(array, initializer, shape, dtype, axes, None)  # type: ignore[no-any-return]


def as_words(key: Key | ArrayLike) -> NDArray[np.uint32]:
    """Return the two words of a known key."""
    return np.asarray(key.words if isinstance(key, Key) else key, np.uint32)


def known_key(words: Key | ArrayLike) -> Key:
    """Return the key of two known words."""
    if isinstance(words, Key):
        return words
    high, low = np.asarray(words).tolist()
    return Key(high << 32 | low)


def _of_all_axes(sharding: Any, ndim: int) -> Any:
    """Return the sharding with an entry for each axis, as JAX's functions have it: P("x") of two is P("x", None)."""
    if isinstance(sharding, PartitionSpec):
        return PartitionSpec(*sharding, *[None] * (ndim - len(sharding)))  # type: ignore[no-untyped-call]
    if isinstance(sharding, NamedSharding):
        return NamedSharding(sharding.mesh, _of_all_axes(sharding.spec, ndim), memory_kind=sharding.memory_kind)
    return sharding


def _by_kernel(
    initializer: Initializer, key: Key, shape: tuple[int, ...], dtype: str, axes: str | None, device: Any
) -> jax.Array:
    """Draw by the compiled kernel, into memory that JAX takes over."""
    out = memory(shape, dtype)
    initializer(shape, dtype, axes=axes, seed=key, out=out)
    weight: jax.Array = jax.device_put(out, device)
    return weight


def memory(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Return memory of NumPy's, not filled, that JAX takes over without a copy."""
    size = math.prod(shape) * numpy_dtype(dtype).itemsize
    block = np.empty(size + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size].view(numpy_dtype(dtype)).reshape(shape)


@lru_cache(maxsize=256)
def compiled(out_sharding: Placement) -> Any:
    """Return `constrained`, compiled for outputs of that sharding.

    None draws where the words are, or inside another traced function.
    """
    options: dict[str, Any] = {} if out_sharding is None else {"out_shardings": out_sharding}
    return jax.jit(constrained, static_argnums=(1, 2, 3, 4, 5), inline=True, **options)


def traced(
    words: jax.Array, initializer: Initializer, shape: tuple[int, ...], dtype: str, axes: str | None = None
) -> jax.Array:
    """Draw by JAX's own operations, from words that may be traced."""
    match(shape, axes)
    if 0 in shape:
        if initializer.uses_fans:
            warnings.warn(f"shape {shape} holds no weights: nothing is drawn", UserWarning, stacklevel=2)
        return jnp.zeros(shape, dtype)
    weight: jax.Array = initializer.weights(DrawRequest(shape, axes, dtype, words), JAX).astype(dtype)
    return weight


def constrained(
    words: jax.Array,
    initializer: Initializer,
    shape: tuple[int, ...],
    dtype: str,
    axes: str | None,
    out_sharding: Placement,
) -> jax.Array:
    """Draw by JAX's own operations, with that sharding."""
    make = partial(traced, initializer=initializer, shape=shape, dtype=dtype, axes=axes)
    return placed(make, out_sharding, words)


def placed(make: Callable[..., jax.Array], out_sharding: Placement, *operands: Any) -> jax.Array:
    """Return the result of a traced function, with that sharding."""
    if out_sharding is None:
        return make(*operands)
    if isinstance(out_sharding, PartitionSpec):
        out_sharding = NamedSharding(jax.sharding.get_abstract_mesh(), out_sharding)
    explicit = out_sharding.mesh.explicit_axes if isinstance(out_sharding, NamedSharding) else ()
    result: jax.Array
    if explicit:
        result = jax.sharding.auto_axes(make, axes=explicit, out_sharding=out_sharding)(*operands)
    else:
        result = lax.with_sharding_constraint(make(*operands), out_sharding)  # type: ignore[no-untyped-call]
    return result

"""The core's draws in JAX: by the kernel where the key is known and the memory is the CPU's, else traced."""

import math
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from initlib import Initializer, Key, stream
from initlib.axes import match, numbering
from initlib.base import Composed, Independent
from initlib.dtypes import numpy_dtype
from initlib.initializers import Constant
from initlib.key import fold_number

__all__ = ["draw"]

ALIGNMENT = 64  # bytes: memory of NumPy's that is aligned so becomes JAX's without a copy
COPIED = 2**15  # bytes: below, a copy costs less than handing memory over


class JaxOps:
    """`stream.Ops` of JAX."""

    def cast(self, x: Any, dtype: str) -> Any:
        return x.astype(dtype)

    def bits(self, x: Any) -> Any:
        return lax.bitcast_convert_type(x, jnp.int32)

    def take(self, column: int, rows: Any) -> Any:
        return jnp.asarray(stream.COLUMNS[column]).at[rows].get(mode="promise_in_bounds")


OPS = JaxOps()


class JaxEngine:
    """`Engine` of JAX."""

    xp: Any = jnp

    def __init__(self, words: Any) -> None:
        self.words = words

    def draw(self, initializer: Independent, shape: tuple[int, ...], dtype: str, name: str | None = None) -> Any:
        words = self.words if name is None else folded(self.words, fold_number(name))
        return traced(words, initializer, shape, dtype)


def draw(
    initializer: Initializer,
    words: Any,
    shape: tuple[int, ...],
    dtype: str,
    axes: str | None = None,
    out_sharding: Any = None,
) -> Any:
    """The weight under a key of two words, as a JAX array: the same bits however it is drawn.

    `words` is a uint32 array of shape (2,), of NumPy or JAX, traced or not; `dtype` is one of the core's names.
    Known words on one CPU draw by the kernel, and its memory is handed over. Others draw by the traced stream, where
    each device computes the positions that it holds: with an `out_sharding` (a sharding, or a PartitionSpec in a mesh
    context) nothing of full size is made, and nothing is sent.
    """
    words = jnp.asarray(words, jnp.uint32)
    if isinstance(words, jax.core.Tracer):
        return constrained(words, initializer, shape, dtype, axes, out_sharding)
    if out_sharding is None and jax.sharding.get_abstract_mesh().empty:
        device, *others = words.devices()
        if device.platform == "cpu" and not others:
            return by_kernel(words, initializer, shape, dtype, axes, device if words.committed else None)
    elif out_sharding is not None:
        words = np.asarray(words)  # free of the device that it was on
    return compiled(out_sharding)(words, initializer, shape, dtype, axes, out_sharding)


def by_kernel(
    words: Any, initializer: Initializer, shape: tuple[int, ...], dtype: str, axes: str | None, device: Any
) -> Any:
    """The weight as the core draws it, in memory that JAX takes over."""
    high, low = np.asarray(words).tolist()
    seed = Key(high << 32 | low)
    size = math.prod(shape) * numpy_dtype(dtype).itemsize
    if size <= COPIED and device is None:
        return jnp.asarray(initializer(shape, dtype, axes=axes, seed=seed))
    block = np.empty(size + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    out = block[start : start + size].view(numpy_dtype(dtype)).reshape(shape)
    return jax.device_put(initializer(shape, dtype, axes=axes, seed=seed, out=out), device)


@lru_cache(maxsize=256)
def compiled(out_sharding: Any) -> Any:
    """`constrained`, compiled for outputs of that sharding."""
    placed = {} if out_sharding is None else {"out_shardings": out_sharding}
    return jax.jit(constrained, static_argnums=(1, 2, 3, 4, 5), **placed)


def constrained(
    words: Any, initializer: Initializer, shape: tuple[int, ...], dtype: str, axes: str | None, out_sharding: Any
) -> Any:
    """The traced weight, of that sharding."""
    make = partial(traced, initializer=initializer, shape=shape, dtype=dtype, axes=axes)
    if out_sharding is None:
        return make(words)
    if isinstance(out_sharding, PartitionSpec):
        mesh = jax.sharding.get_abstract_mesh()
        if mesh.empty:
            raise ValueError(f"out_sharding {out_sharding} needs a mesh: enter jax.set_mesh, or give a NamedSharding")
        out_sharding = NamedSharding(mesh, out_sharding)
    explicit = out_sharding.mesh.explicit_axes if isinstance(out_sharding, NamedSharding) else ()
    if explicit:
        return jax.sharding.auto_axes(make, axes=explicit, out_sharding=out_sharding)(words)
    return lax.with_sharding_constraint(make(words), out_sharding)  # type: ignore[no-untyped-call]


def traced(words: Any, initializer: Initializer, shape: tuple[int, ...], dtype: str, axes: str | None = None) -> Any:
    """The weight, drawn by JAX's own operations from words that may be traced."""
    match(shape, axes)
    if isinstance(initializer, Constant):
        return jnp.full(shape, initializer.value, dtype)
    if 0 in shape:
        initializer._warn_of_no_weights(shape)
        return jnp.zeros(shape, dtype)
    if isinstance(initializer, Independent):
        return stream.weights(initializer.law(shape, axes, dtype), halves(words), *positions(shape, axes), OPS)
    if isinstance(initializer, Composed):
        return initializer.compose(shape, axes, dtype, JaxEngine(words)).astype(dtype)
    raise TypeError(f"{initializer!r} cannot be traced: it is neither Independent nor Composed")


def positions(shape: tuple[int, ...], axes: str | None) -> tuple[Any, Any]:
    """The canonical position of every stored weight, as (high, low)."""
    terms = []
    for axis, factors in enumerate(numbering(shape, axes)):
        if shape[axis] > 2**31:
            raise ValueError(f"shape {shape} has an axis of more than 2**31, which JAX's 32-bit indices cannot count")
        index = lax.broadcasted_iota(jnp.int32, shape, axis)
        for factor in factors:
            part = index if factor.step == 1 else lax.div(index, jnp.int32(factor.step))
            if factor is not factors[0]:  # the outermost one never wraps
                part = lax.rem(part, jnp.int32(factor.size))
            terms.append((part, factor.stride))
    return stream.locate(terms, math.prod(shape), jnp.int32(0), OPS)


def halves(words: Any) -> tuple[Any, Any]:
    """The two words as int32, for `stream`."""
    words = lax.bitcast_convert_type(words, jnp.int32)
    return words[0], words[1]


def folded(words: Any, number: int) -> Any:
    """The words of `Key.fold_in` of that number."""
    counter = jnp.int32(stream.int32(number >> 32)), jnp.int32(stream.int32(number))
    return lax.bitcast_convert_type(jnp.stack(stream.threefry(halves(words), *counter)), jnp.uint32)

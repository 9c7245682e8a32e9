"""The core's draws in JAX: by the kernel where the key is known and the memory is the CPU's, else traced."""

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

from initlib import Initializer, Key
from initlib._public import public
from initlib.axes import match
from initlib.dtypes import DTYPES, numpy_dtype
from initlib.stream.engine import DrawRequest

from .engine import JAX

ALIGNMENT = 64  # bytes: memory of NumPy's that is aligned so becomes JAX's without a copy


@public("initlib.adapters.jax")
def draw(
    initializer: Initializer,
    words: Any,
    shape: tuple[int, ...],
    dtype: str,
    axes: str | None = None,
    out_sharding: Any = None,
) -> Any:
    """The weight under a key of two words, as a JAX array: the same bits however it is drawn.

    `words` is a uint32 array of shape (2,), of NumPy or JAX, traced or not; `dtype` is one of the core's, complex64 or
    complex128. Known words on one CPU draw by the kernel, and its memory is handed over. Others draw by the traced
    stream, where each device computes the positions that it holds: with an `out_sharding` (a sharding, or a
    PartitionSpec in a mesh context) nothing of full size is made, and nothing is sent.
    """
    if dtype in DTYPES:
        dtype = jax.dtypes.canonicalize_dtype(dtype).name
    if not isinstance(out_sharding, (Sharding, PartitionSpec, NoneType)):
        raise TypeError(f"out_sharding must be a sharding, a PartitionSpec or None, got {out_sharding!r}")
    out_sharding = _of_all_axes(out_sharding, len(shape))
    mesh = jax.sharding.get_abstract_mesh()
    if isinstance(out_sharding, PartitionSpec) and mesh.empty:
        raise ValueError(f"out_sharding {out_sharding} needs a mesh: enter jax.set_mesh, or give a NamedSharding")
    if not isinstance(words, jax.Array):
        words = jnp.asarray(words, jnp.uint32)
    if isinstance(words, jax.core.Tracer):
        return compiled(None)(words, initializer, shape, dtype, axes, out_sharding)
    if out_sharding is None and mesh.empty:
        device, *others = words.devices()
        if device.platform == "cpu" and not others:
            return by_kernel(words, initializer, shape, dtype, axes, device if words.committed else None)
    elif out_sharding is not None:
        words = np.asarray(words)  # free of the device that it was on
    return compiled(out_sharding)(words, initializer, shape, dtype, axes, out_sharding)


def _of_all_axes(sharding: Any, ndim: int) -> Any:
    """The sharding with an entry for each axis, as JAX's own functions have it: P("x") of two is P("x", None)."""
    if isinstance(sharding, PartitionSpec):
        return PartitionSpec(*sharding, *[None] * (ndim - len(sharding)))  # type: ignore[no-untyped-call]
    if isinstance(sharding, NamedSharding):
        return NamedSharding(sharding.mesh, _of_all_axes(sharding.spec, ndim), memory_kind=sharding.memory_kind)
    return sharding


def by_kernel(
    words: Any, initializer: Initializer, shape: tuple[int, ...], dtype: str, axes: str | None, device: Any
) -> Any:
    """The weight as the core draws it, in memory that JAX takes over."""
    high, low = np.asarray(words).tolist()
    out = memory(shape, dtype)
    initializer(shape, dtype, axes=axes, seed=Key(high << 32 | low), out=out)
    return jax.device_put(out, device)


def memory(shape: tuple[int, ...], dtype: str) -> Any:
    """Memory of NumPy's, not filled, that JAX can take over."""
    size = math.prod(shape) * numpy_dtype(dtype).itemsize
    block = np.empty(size + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size].view(numpy_dtype(dtype)).reshape(shape)


@lru_cache(maxsize=256)
def compiled(out_sharding: Any) -> Any:
    """`constrained`, compiled for outputs of that sharding (None: where the words are, or inside another program)."""
    placed = {} if out_sharding is None else {"out_shardings": out_sharding}
    return jax.jit(constrained, static_argnums=(1, 2, 3, 4, 5), inline=True, **placed)


def traced(words: Any, initializer: Initializer, shape: tuple[int, ...], dtype: str, axes: str | None = None) -> Any:
    """The weight, drawn by JAX's own operations from words that may be traced."""
    match(shape, axes)
    if 0 in shape:
        if initializer.uses_fans:
            warnings.warn(f"shape {shape} holds no weights: nothing is drawn", UserWarning, stacklevel=2)
        return jnp.zeros(shape, dtype)
    return initializer.weights(DrawRequest(shape, axes, dtype, words), JAX).astype(dtype)


def constrained(
    words: Any, initializer: Initializer, shape: tuple[int, ...], dtype: str, axes: str | None, out_sharding: Any
) -> Any:
    """The traced weight, of that sharding."""
    make = partial(traced, initializer=initializer, shape=shape, dtype=dtype, axes=axes)
    return placed(make, out_sharding, words)


def placed(make: Callable[..., Any], out_sharding: Any, *operands: Any) -> Any:
    """What a traced function makes of its operands, of that sharding."""
    if out_sharding is None:
        return make(*operands)
    if isinstance(out_sharding, PartitionSpec):
        out_sharding = NamedSharding(jax.sharding.get_abstract_mesh(), out_sharding)
    explicit = out_sharding.mesh.explicit_axes if isinstance(out_sharding, NamedSharding) else ()
    if explicit:
        return jax.sharding.auto_axes(make, axes=explicit, out_sharding=out_sharding)(*operands)
    return lax.with_sharding_constraint(make(*operands), out_sharding)  # type: ignore[no-untyped-call]

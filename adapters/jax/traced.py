"""The stream in JAX's own operations: every position of a weight is computed from words that may be traced."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from initlib import Initializer, Key
from initlib.axes import match, numbering
from initlib.draws import stream
from initlib.dtypes import numpy_dtype
from initlib.key import fold_number
from initlib.schemes.composed import Composed
from initlib.schemes.initializer import Independent
from initlib.schemes.variance import Constant

__all__ = ["JaxEngine", "enciphered", "folded", "traced"]


class JaxOps:
    """`stream.Ops` of JAX."""

    def cast(self, x: Any, dtype: str) -> Any:
        return x.astype(dtype)

    def bits(self, x: Any) -> Any:
        return lax.bitcast_convert_type(x, jnp.int32)

    def shift_right(self, x: Any, count: int) -> Any:
        return lax.shift_right_logical(x, np.int32(count))

    def take(self, column: int, rows: Any) -> Any:
        return jnp.asarray(stream.COLUMNS[column]).at[rows].get(mode="promise_in_bounds")


OPS = JaxOps()


class JaxEngine:
    """`Engine` of JAX, with `draws(words, initializer, shape, dtype, axes)` for its noise."""

    xp: Any = jnp

    def __init__(self, words: Any, draws: Callable[..., Any]) -> None:
        self.words = words
        self.draws = draws

    def draw(
        self,
        initializer: Independent,
        shape: tuple[int, ...],
        dtype: str,
        name: str | None = None,
        axes: str | None = None,
    ) -> Any:
        words = self.words if name is None else folded(self.words, name)
        return self.draws(words, initializer, shape, dtype, axes)


def traced(words: Any, initializer: Initializer, shape: tuple[int, ...], dtype: str, axes: str | None = None) -> Any:
    """The weight, drawn by JAX's own operations from words that may be traced."""
    match(shape, axes)
    if isinstance(initializer, Constant):
        return jnp.full(shape, np.asarray(initializer.value, numpy_dtype(dtype)))
    if 0 in shape:
        initializer._warn_of_no_weights(shape)
        return jnp.zeros(shape, dtype)
    if isinstance(initializer, Independent):
        return stream.weights(initializer.law(shape, axes, dtype), halves(words), *positions(shape, axes), OPS)
    if isinstance(initializer, Composed):
        return initializer.compose(shape, axes, dtype, JaxEngine(words, traced)).astype(dtype)
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


@jax.jit
def enciphered(words: Any, counter: Any) -> Any:
    """The block cipher of a counter of two words."""
    return lax.bitcast_convert_type(jnp.stack(stream.threefry(halves(words), *halves(counter), OPS)), jnp.uint32)


def folded(words: Any, name: str) -> Any:
    """The words of `Key.fold_in` of that name."""
    return enciphered(words, np.array(Key(fold_number(name)).words, np.uint32))

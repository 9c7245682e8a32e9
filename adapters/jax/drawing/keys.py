"""Keys of JAX, of any implementation, as the two words that the stream takes."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from .engine import JAX, enciphered


def words_of(key: ArrayLike | None, name: str | None, caller: str) -> jax.Array:
    """Return the two words of a key, typed or raw, traced or not; with a name, those of that stream inside the key.

    A threefry key has two words, and they are used as they are: `jax.random.key(seed)` is the core's `Key(seed)`.
    Of a longer key, the first two words are enciphered with each further pair that differs from them. So an rbg key
    made from a seed, which holds two words twice, equals the threefry key. An odd number of words gets a 0 in front.
    """
    words = _data(key) if isinstance(key, jax.Array) else jax.random.key_data(key)  # type: ignore[arg-type]  # raises for all other arguments than keys
    if words.ndim != 1:
        raise ValueError(
            f"{caller} accepts a single key, but was given a key array of shape {words.shape[:-1]}. "
            "Use jax.vmap for batching."
        )
    if words.shape[0] != 2:
        words = _two(words)
    return words if name is None else JAX.fold_in(words, name)


def is_key(value: object) -> bool:
    """Return whether a value is a key of JAX: typed, or the raw words of one."""
    if not isinstance(value, jax.Array):
        return False
    is_typed = jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    return bool(is_typed or (value.dtype == jnp.uint32 and value.ndim == 1))


@partial(jax.jit, inline=True)  # a compiled function is called three times as fast as the bare one
def _data(key: jax.Array) -> jax.Array:
    return jax.random.key_data(key)


@jax.jit
def _two(words: jax.Array) -> jax.Array:
    if words.shape[0] % 2:
        words = jnp.concatenate([jnp.zeros(1, words.dtype), words])
    first, *further = words.reshape(-1, 2)
    result: jax.Array = first
    for pair in further:
        result = jnp.where((pair == first).all(), result, enciphered(result, pair))
    return result

"""Keys of JAX, of any kind, as the two words that the stream takes."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from .engine import JAX, enciphered


def words_of(key: Any, name: str | None, caller: str) -> Any:
    """The two words of a key, typed or raw, traced or not; with a name, those of the stream of that name inside it.

    A threefry key's words are its own: those of `jax.random.key(seed)` are the core's for that seed. Of more words,
    the first two, enciphering in turn each further pair that differs from them: so an rbg key made from a seed, which
    holds two words twice, counts as the threefry key. A word too few is a 0 in front.
    """
    words = _data(key) if isinstance(key, jax.Array) else jax.random.key_data(key)
    if words.ndim != 1:
        raise ValueError(
            f"{caller} accepts a single key, but was given a key array of shape {jnp.shape(key)}. "
            "Use jax.vmap for batching."
        )
    if words.shape[0] != 2:
        words = _two(words)
    return words if name is None else JAX.fold_in(words, name)


@partial(jax.jit, inline=True)  # a compiled function is called three times as fast as the bare one
def _data(key: Any) -> Any:
    return jax.random.key_data(key)


@jax.jit
def _two(words: Any) -> Any:
    if words.shape[0] % 2:
        words = jnp.concatenate([jnp.zeros(1, words.dtype), words])
    first, *further = words.reshape(-1, 2)
    result = first
    for pair in further:
        result = jnp.where((pair == first).all(), result, enciphered(result, pair))
    return result

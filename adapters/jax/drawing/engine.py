"""JAX's engine: computes each position of a weight from words that may be traced."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from initlib import Key
from initlib.key import fold_number
from initlib.stream import reference as stream
from initlib.stream.boxes import Part
from initlib.stream.engine import Engine, Factor, Reflections


class JaxEngine(Engine):
    """An `Engine` of JAX, with keys that are arrays of two uint32 words."""

    xp = jnp
    piece = 2**63  # a traced draw is compiled as a whole

    def cast(self, x: Any, dtype: str) -> Any:
        return x.astype(dtype)

    def bits(self, x: Any) -> Any:
        return lax.bitcast_convert_type(x, jnp.int32)

    def shift_right(self, x: Any, count: int) -> Any:
        return lax.shift_right_logical(x, np.int32(count))

    def take(self, column: int, rows: Any) -> Any:
        return jnp.asarray(stream.COLUMNS[column]).at[rows].get(mode="promise_in_bounds")

    def complex(self, real: Any, imaginary: Any) -> Any:
        return lax.complex(real, imaginary)

    def index(self, part: Part, axis: int, shape: tuple[int, ...]) -> Any:
        if part.size > 2**32:
            raise ValueError(
                f"shape must have no axis longer than 2**32, because JAX's indices have 32 bits, got {shape}"
            )
        # The index has the shape of the box, so that each device counts its shard of a sharded axis.
        index = lax.broadcasted_iota(jnp.int32 if part.size <= 2**31 else jnp.uint32, shape, axis)
        return index if part.step == 1 and part.start == 0 else index * part.step + part.start

    def array(self, values: NDArray[Any], dtype: str) -> Any:
        return jnp.asarray(values, dtype)

    def words(self, key: Any) -> tuple[Any, Any]:
        words = lax.bitcast_convert_type(key, jnp.int32)
        return words[0], words[1]

    def fold_in(self, key: Any, data: str | int) -> Any:
        return enciphered(key, np.array(Key(fold_number(data)).words, np.uint32))

    def inverse(self, upper: Any) -> Any:
        # Compiles in a third of the time of a general inverse.
        eye = jnp.broadcast_to(jnp.eye(upper.shape[-1], dtype=upper.dtype), upper.shape)
        return lax.linalg.triangular_solve(upper, eye, left_side=True, lower=False)

    def reflect(
        self, shape: tuple[int, ...], dtype: str, reflections: Reflections, factor: Factor, size: int
    ) -> tuple[Any, Any]:
        # Blocks of one size, padded with columns of zeros that reflect nothing, make one loop, compiled once.
        v, square, sign, eye = reflections(0, shape[2])
        blocks = -(-shape[2] // size)
        missing = blocks * size - shape[2]
        v = jnp.pad(v, ((0, 0), (0, 0), (0, missing)))
        square = jnp.pad(square, ((0, 0), (0, missing)), constant_values=1)

        def step(k: Any, q: Any) -> Any:
            start = (blocks - 1 - k) * size
            block = lax.dynamic_slice_in_dim(v, start, size, 2)
            return q - block @ factor(block, lax.dynamic_slice_in_dim(square, start, size, 1), q)

        return lax.fori_loop(0, blocks, step, jnp.concatenate([eye] * shape[0])), sign


JAX = JaxEngine()


@jax.jit
def enciphered(words: Any, counter: Any) -> Any:
    """Encipher a counter of two words under a key of two words."""
    return lax.bitcast_convert_type(jnp.stack(stream.threefry(JAX.words(words), *JAX.words(counter), JAX)), jnp.uint32)

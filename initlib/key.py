"""Key: the identity of a random stream, from a seed and then names."""

import os
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from ._arguments import Shape, checked_shape, integer
from ._public import public
from .stream.engine import DrawRequest
from .stream.law import WORDS
from .stream.numpy_engine import NUMPY, block


def fold_number(data: str | SupportsIndex) -> int:
    """The 64-bit number that folding in a name or an int enciphers."""
    if isinstance(data, str):
        import hashlib  # it loads OpenSSL: only where a name is given

        try:
            text = data.encode()
        except UnicodeEncodeError:
            raise ValueError(f"name {data!r} is no text: it has half of a surrogate pair") from None
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
    return integer(data, "data", least=0, below=2**64)


@public("initlib")
@dataclass(frozen=True, init=False)
class Key:
    """A random stream's identity: 64 bits, read as the two words (seed >> 32, seed & 0xffffffff).

    >>> Key(0).fold_in("conv1")
    Key(seed=7942792004399299439)
    >>> Key(0).fold_in("conv1") == Key(0).fold_in("conv2")
    False

    For seeds below 2**32 this is `jax.random.key(seed)`, and `fold_in` of an int below 2**32 is `jax.random.fold_in`.
    Raises TypeError or ValueError unless 0 <= seed < 2**64.
    """

    seed: int

    def __init__(self, seed: SupportsIndex) -> None:
        object.__setattr__(self, "seed", integer(seed, "seed", least=0, below=2**64))

    @property
    def words(self) -> tuple[int, int]:
        """The two 32-bit words, high first."""
        return self.seed >> 32, self.seed & 0xFFFFFFFF

    def fold_in(self, data: str | SupportsIndex) -> "Key":
        """The key of a stream of its own, for a name or an int: Threefry-2x32 of it under this key.

        >>> Key(0).fold_in(1)
        Key(seed=3989946895414531357)

        A name counts as the first eight bytes, big-endian, of the SHA-256 of its UTF-8.
        """
        return Key(block(self.seed, fold_number(data)))

    def bits(self, shape: Shape) -> NDArray[np.uint32]:
        """The stream's words, one 32-bit word a position, in row-major order.

        >>> Key(0).bits(3)
        array([4070199207, 4202968722, 1427181096], dtype=uint32)

        For seeds below 2**32 these are `jax.random.bits(jax.random.key(seed), shape, "uint32")`
        (Threefry-2x32, 20 rounds: Salmon et al. 2011, Random123).
        """
        words: NDArray[np.uint32] = NUMPY.draw(WORDS, DrawRequest(checked_shape(shape), None, "uint32", self))
        return words


def as_key(seed: Any, name: str | None = None) -> Key:
    """The key that a `seed=` and a `name=` argument stand for."""
    if type(seed) is int:  # the usual one first
        key = Key(seed)
    elif seed is None:
        key = Key(int.from_bytes(os.urandom(8)))
    elif isinstance(seed, Key):
        key = seed
    elif isinstance(seed, np.random.Generator):
        key = Key(int(seed.integers(2**64, dtype=np.uint64)))
    else:
        try:
            key = Key(seed)
        except TypeError:
            raise TypeError(f"seed must be an int, a Key, a numpy.random.Generator or None, got {seed!r}") from None
    if name is None:
        return key
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r}")
    return key.fold_in(name)

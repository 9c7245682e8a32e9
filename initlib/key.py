"""Key: the identity of a random stream, made of a seed and then names."""

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._arguments import Shape, checked_shape, integer
from ._public import public
from .stream.engine import DrawRequest
from .stream.law import WORDS
from .stream.numpy_engine import NUMPY, block


def fold_number(data: str | SupportsIndex) -> int:
    """Return the 64-bit number that `fold_in` enciphers for a name or an int."""
    if isinstance(data, str):
        return _number_of_name(data)
    return integer(data, "data", least=0, below=2**64)


@lru_cache(maxsize=4096)  # the names of a model recur: for each seed, shard and call
def _number_of_name(name: str) -> int:
    import hashlib  # loads OpenSSL, which `import initlib` spares programs without names

    try:
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    except UnicodeEncodeError:
        raise ValueError(f"name must be valid Unicode, got {name!r} with half of a surrogate pair") from None


@public("initlib")
@dataclass(frozen=True, init=False)
class Key:
    """Identity of a random stream: 64 bits, read as the two words (seed >> 32, seed & 0xffffffff).

    For a seed below 2**32, `Key(seed)` has the same words as `jax.random.key(seed)`. For an int below 2**32, `fold_in`
    returns the same words as `jax.random.fold_in`.

    Args:
        seed: an int from 0 to 2**64 - 1.

    Raises:
        TypeError: seed is not an int.
        ValueError: seed is negative, or 2**64 or more.

    Example:
        >>> Key(0).fold_in("conv1")
        Key(seed=7942792004399299439)
        >>> Key(0).fold_in("conv1") == Key(0).fold_in("conv2")
        False
    """

    seed: int

    def __init__(self, seed: SupportsIndex) -> None:
        object.__setattr__(self, "seed", integer(seed, "seed", least=0, below=2**64))

    @property
    def words(self) -> tuple[int, int]:
        """Return the two 32-bit words of the key, high word first.

        Example:
            >>> Key(2**32 + 5).words
            (1, 5)
        """
        return self.seed >> 32, self.seed & 0xFFFFFFFF

    def fold_in(self, data: str | SupportsIndex) -> "Key":
        """Return the key of another stream, for a name or an int.

        The new key is the Threefry-2x32 block of `data` under this key.

        Args:
            data: an int from 0 to 2**64 - 1, or a name. The int of a name is made of the first eight bytes, big-endian,
                of the SHA-256 digest of the UTF-8 text.

        Returns:
            The new key.

        Raises:
            TypeError: data is neither an int nor a string.
            ValueError: data is an int out of range, or a string that UTF-8 cannot encode.

        Example:
            >>> Key(0).fold_in(1)
            Key(seed=3989946895414531357)
        """
        return Key(folded_seed(self, data))

    def bits(self, shape: Shape) -> NDArray[np.uint32]:
        """Return the words of the stream: one 32-bit word for each position, in row-major order.

        For a seed below 2**32, the array equals `jax.random.bits(jax.random.key(seed), shape, "uint32")`.

        Args:
            shape: shape of the array.

        Returns:
            An array of dtype uint32.

        Raises:
            TypeError: shape is not an int or a sequence of ints.
            ValueError: shape has a negative size, or 2**64 positions or more.

        Example:
            >>> Key(0).bits(3)
            array([4070199207, 4202968722, 1427181096], dtype=uint32)

        Reference:
            Salmon, Moraes, Dror, Shaw. Parallel random numbers: as easy as 1, 2, 3. 2011. doi:10.1145/2063384.2063405.
        """
        return NUMPY.draw(WORDS, DrawRequest(checked_shape(shape), None, "uint32", self))


def folded_seed(key: Key, data: str | SupportsIndex) -> int:
    """Return the seed of `key.fold_in(data)`."""
    return block(key.seed, fold_number(data))


Seed: TypeAlias = "SupportsIndex | Key | np.random.Generator | None"  # a string: numpy.random takes 10 ms to load


def as_key(seed: Seed, name: str | None = None) -> Key:
    """Return the key of the arguments `seed` and `name`: None takes 64 bits of fresh entropy."""
    if type(seed) is int:  # the usual type first
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
            raise TypeError(
                f"seed must be an int, a Key, a numpy.random.Generator or None, got {_shown(seed)}{_advice(seed)}"
            ) from None
    if name is None:
        return key
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, got {name!r}")
    return key.fold_in(name)


def _shown(seed: object) -> str:
    """Return a wrong seed as code, or as the name of its class if the code is long, such as the code of a model."""
    text = repr(seed)
    return text if len(text) <= 100 and text.isprintable() else f"a {type(seed).__name__}"


def _advice(seed: object) -> str:
    """Return the advice for the generator or key of a framework, or for a name."""
    if isinstance(seed, str):
        return ". Pass a name as name="
    return {
        "torch": ". Pass seed=generator.initial_seed(); the functions of initlib.adapters.torch take generator=",
        "jax": ". Pass a key of JAX in place of the seed, as the first argument: he_normal(key, shape)",
        "jaxlib": ". Pass a key of JAX in place of the seed, as the first argument: he_normal(key, shape)",
        "keras": ". Pass a generator of Keras to the classes of initlib.adapters.keras",
    }.get(type(seed).__module__.partition(".")[0], "")

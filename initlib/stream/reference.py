"""Stream, version 1: from a key and a position to a weight. The specification, the fallback and the test oracle.

One file, because the file is the specification: words (Threefry of the position), noise (the word as an integer of a
distribution) and weights follow each other as in `docs/stream.md`.

The code uses operators on int32 arrays that wrap as two's complement, so it runs on NumPy arrays, JAX tracers and
PyTorch tensors on any device; `Ops` holds the operations that these libraries spell differently. From the word to the
noise, the only float operation is a conversion of a positive int32 to float32, whose bits are then read: compilers may
contract or reorder float arithmetic, but not integers.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..dtypes import DTYPES
from .law import WHOLE_LINE, Law
from .normal_table import ROWS

Array = Any  # an int32 array of NumPy, JAX or PyTorch

COLUMNS = np.array(ROWS, np.int32).T.copy()

# Threefry-2x32 with 20 rounds; names and values as published (Salmon et al. 2011, Random123).
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
SKEIN_KS_PARITY = 0x1BD11BDA


class Ops(ABC):
    """Operations of the stream that array libraries spell differently."""

    @abstractmethod
    def cast(self, x: Array, dtype: str) -> Array:
        """Convert to the dtype of that name, rounded to nearest even; integers wrap."""

    @abstractmethod
    def bits(self, x: Array) -> Array:
        """Reinterpret float32 as int32."""

    @abstractmethod
    def shift_right(self, x: Array, count: int) -> Array:
        """Shift right with zeros; `>>` of an int32 copies the sign."""

    @abstractmethod
    def take(self, column: int, rows: Array) -> Array:
        """Return `COLUMNS[column][rows]`."""


def int32(x: int) -> int:
    """Return the int32 with the same low 32 bits."""
    return ((x & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000


def threefry(key: tuple[Array, Array], x0: Array, x1: Array, ops: Ops) -> tuple[Array, Array]:
    """Return the block of the cipher: two output words, from two words of key and two of counter."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ SKEIN_KS_PARITY)
    x0 = x0 + schedule[0]
    x1 = x1 + schedule[1]
    for group in range(5):
        for count in ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = ((x1 << count) | ops.shift_right(x1, 32 - count)) ^ x0
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + (schedule[(group + 2) % 3] + (group + 1))
    return x0, x1


def words(key: tuple[Array, Array], high: Array, low: Array, ops: Ops) -> Array:
    """Return the word of each position (high, low)."""
    x0, x1 = threefry(key, high, low, ops)
    return x0 ^ x1


def _multiply_high(x: Array, y: int, ops: Ops) -> Array:
    """Return the high half of the 64-bit product of the unsigned x and 0 <= y < 2**32."""
    x1, x0 = ops.shift_right(x, 16), x & 0xFFFF
    y1, y0 = y >> 16, y & 0xFFFF
    middle = x1 * y0 + ops.shift_right(x0 * y0, 16)  # unsigned, never past 32 bits
    other = x0 * y1 + (middle & 0xFFFF)
    return x1 * y1 + ops.shift_right(middle, 16) + ops.shift_right(other, 16)


def uniform(word: Array) -> Array:
    """Return odd noise in (-2**24, 2**24)."""
    return (word >> 7) | 1


def normal(word: Array, window: tuple[int, int], ops: Ops) -> Array:
    """Return the normal quantile of a word scaled into the window of the CDF, in units of 2**-21 sigma."""
    lo, width = window
    p = word if window == WHOLE_LINE else _multiply_high(word, width, ops) + int32(lo)
    upper = p >> 31  # -1 in the upper half of the CDF, else 0
    tail = (p ^ upper) | 1  # 31 bits, odd: the midpoint of its pair
    bits = ops.bits(ops.cast(tail, "float32"))
    row = (bits >> 20) - (127 << 3)  # 127 is float32's exponent bias: eight rows an octave
    u = bits & 0xFFFFF  # the position in the row, 20 bits
    v = u >> 5
    q = ops.take(2, row) + ((ops.take(3, row) * v) >> 15)
    q = ops.take(1, row) + ((q * v) >> 15)
    n = ops.take(0, row) + ((q * (u >> 8) + ((q * (u & 255)) >> 8)) >> 12)  # 12 + 8 bits: products fit 32
    return (n ^ ~upper) - ~upper  # negated in the lower half


def weights(law: Law, key: tuple[Array, Array], high: Array, low: Array, ops: Ops) -> Array:
    """Return the weight of each position (high, low): exact conversion, one rounding, and rounding to the dtype."""
    word = words(key, high, low, ops)
    if law.dtype == "uint32":
        return ops.cast(word, "uint32")
    noise = uniform(word) if law.window is None else normal(word, law.window, ops)
    return from_noise(law, noise.clip(law.low, law.high), ops)


def from_noise(law: Law, noise: Array, ops: Ops) -> Array:
    """Return the weights of clamped noise."""
    wide = DTYPES[law.dtype].wide
    weight = ops.cast(noise, wide) * law.scale
    if law.mean:
        weight = weight + law.mean
    return weight if law.dtype == wide else ops.cast(weight, law.dtype)


def locate(terms: Iterable[tuple[Array, int]], end: int, zero: Array, ops: Ops) -> tuple[Array, Array]:
    """Return the positions sum(index * stride), all below `end`, as (high, low), for indices 0 <= index < 2**32.

    The sum starts from `zero`, an int32 0 of the array library.
    """
    high = low = zero
    for index, stride in terms:
        term = index * int32(stride)
        total = low + term
        if end > 2**32:
            # A sum wrapped where, unsigned, it is below the term. With the top bit flipped, int32 compares as unsigned.
            carry = ops.cast((total ^ int32(2**31)) < (term ^ int32(2**31)), "int32")
            high = high + carry + _multiply_high(index, stride & 0xFFFFFFFF, ops) + index * int32(stride >> 32)
        low = total
    return high, low

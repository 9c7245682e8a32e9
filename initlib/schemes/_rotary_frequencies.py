"""Frequencies of rotary position embeddings."""

from ._computed import Array, ComputedVector, powers
from ._sinusoidal import checked_base
from .frozen import scheme, set_fields


@scheme("rotary_frequencies")
class RotaryFrequencies(ComputedVector):
    """Vectors of the d / 2 frequencies of rotary embeddings, `inv_freq`: base**(-2 k / d) for k = 0 … d / 2 - 1.

    d is the number of rotated channels of a head, twice the size of the vector. The weights have the same bits in every
    framework. transformers computes in float32, and differs from these weights by rounding. The difference is at most
    one unit in the last place if d is a power of two. For d = 80 the difference is at most 5 units. For position
    interpolation by a factor s, write `rotary_frequencies() * (1 / s)`.

    `inv_freq` is a buffer. Checkpoints do not store this buffer, and `to_empty` loses its values. The pattern of a rule
    must end with the kind: `{"*.inv_freq:buffer": rotary_frequencies()}`.

    Args:
        base: the base of the powers, at least 1: 10000 in the paper and LLaMA, 500000 in LLaMA 3.

    Raises:
        TypeError: base is not a real number.
        ValueError: base is below 1; when drawn, the weight has two axes longer than 1.

    Example:
        >>> rotary_frequencies()(4)
        array([1.   , 0.1  , 0.01 , 0.001], dtype=float32)

    Reference:
        Su, Lu, Pan, Murtadha, Wen, Liu. RoFormer: enhanced transformer with rotary position embedding. 2021.
        arXiv:2104.09864.
    """

    base: float = 10000.0

    def __post_init__(self) -> None:
        set_fields(self, base=checked_base(self.base))

    def vector(self, size: int) -> Array:
        return powers(self.base, tuple(range(0, -size, -1)), size)


rotary_frequencies = RotaryFrequencies

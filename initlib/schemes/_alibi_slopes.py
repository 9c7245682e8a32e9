"""Slopes of attention with linear biases."""

from .._arguments import positive
from ._computed import Array, ComputedVector, powers
from .frozen import scheme, set_fields


@scheme("alibi_slopes")
class AlibiSlopes(ComputedVector):
    """Vectors of the slopes of ALiBi, one for each attention head.

    If the number n of heads is a power of two, slope k is 2**(-max_bias * k / n), for k = 1 … n. For another n, let c
    be the largest power of two below n. The first c slopes are the slopes of c heads. The other n - c slopes are the
    slopes k = 1, 3, 5, … of 2 c heads. The weights have the same bits in every framework. transformers (BLOOM, Falcon)
    computes powers in float32, and differs from these weights by a few units in the last place.

    Args:
        max_bias: minus log2 of the smallest slope, above 0; `alibi_bias_max` in MPT.

    Raises:
        TypeError: max_bias is not a real number.
        ValueError: max_bias is 0 or less; when drawn, the weight has two axes longer than 1.

    Example:
        >>> alibi_slopes()(6)
        array([0.25      , 0.0625    , 0.015625  , 0.00390625, 0.5       ,
               0.125     ], dtype=float32)

    Reference:
        Press, Smith, Lewis. Train short, test long: attention with linear biases enables input length extrapolation.
        2021. arXiv:2108.12409. The weights follow `get_slopes` of the authors' code.
    """

    max_bias: float = 8.0

    def __post_init__(self) -> None:
        set_fields(self, max_bias=positive(self.max_bias, "max_bias"))

    def vector(self, size: int) -> Array:
        lower = 1 << max(0, size.bit_length() - 1)
        steps = [*range(2, 2 * lower + 1, 2), *range(1, 2 * (size - lower), 2)]  # in units of 1 / (2 lower)
        return powers(2.0, tuple(-self.max_bias * step for step in steps), 2 * lower)


alibi_slopes = AlibiSlopes

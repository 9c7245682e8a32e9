"""A check that this thread rounds sums and products once, to the nearest number, as the bits of weights require.

Threads can be set to another rounding mode, and their libraries inherit the mode. 32-bit programs that compute on the
x87 round twice. Flushing small numbers to zero does no harm: no law uses numbers that small.
"""

# Just under and just over half the step from 1.0 to the next number: other modes round both sums to the same number.
UNDER, OVER = 2.0**-53 - 2.0**-106, 2.0**-53 + 2.0**-105


def check_rounding() -> None:
    """Raise FloatingPointError unless this thread rounds once, to the nearest number."""
    if not 1.0 + UNDER < 1.0 + OVER:
        raise FloatingPointError(
            "the floating-point rounding mode of this thread must be round-to-nearest, got another mode, which a "
            "library has set. Restore the mode, and draw again."
        )

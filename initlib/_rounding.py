"""What the bits of weights need of the processor: that every sum and product is rounded once, to the nearest number.

Threads can be set to round another way, and what a thread has set, its libraries inherit. 32-bit programs that compute
on the x87 round twice. Numbers flushed to zero do not matter: no law of weights has any so small.
"""

# Just under and just over half the step from 1.0 to the next number: rounding one way takes both to the same number.
UNDER, OVER = 2.0**-53 - 2.0**-106, 2.0**-53 + 2.0**-105


def check_rounding() -> None:
    """Raise FloatingPointError unless this thread rounds once, to the nearest number."""
    if not 1.0 + UNDER < 1.0 + OVER:
        raise FloatingPointError(
            "this thread does not round numbers once and to the nearest, as the weights of a seed ask: "
            "something has set another rounding mode"
        )

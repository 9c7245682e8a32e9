"""Arguments: the checks that functions share. An error names the argument, what was given and what is allowed."""

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

import numpy as np

Shape = int | Sequence[SupportsIndex]


def real(value: Any, argument: str, *, or_infinite: bool = False) -> float:
    """The argument as a float, checked."""
    if isinstance(value, (str, bytes, complex)):
        raise TypeError(f"{argument} must be a real number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{argument} must be a real number, got {value!r}") from None
    except OverflowError:
        raise ValueError(f"{argument} must be below 1.8e308, got an int of {value.bit_length()} bits") from None
    if math.isnan(number) or (math.isinf(number) and not or_infinite):
        raise ValueError(f"{argument} must be {'a number' if or_infinite else 'finite'}, got {number!r}")
    return number


def positive(value: Any, argument: str, *, or_zero: bool = False) -> float:
    """The argument as a positive float, checked."""
    number = real(value, argument)
    if number < 0 or (number == 0 and not or_zero):
        raise ValueError(f"{argument} must be {'at least' if or_zero else 'above'} 0, got {number!r}")
    return number


def integer(value: Any, argument: str, *, least: int | None = None, below: int | None = None) -> int:
    """The argument as an int of at least `least` and below `below`, checked."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{argument} must be an int, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{argument} must be an int, got {value!r}") from None
    if (least is not None and number < least) or (below is not None and number >= below):
        bounds = [f"at least {least}"] if least is not None else []
        if below is not None:
            bounds.append("below 2**64" if below == 2**64 else f"below {below}")
        raise ValueError(f"{argument} must be {' and '.join(bounds)}, got {number}")
    return number


def choice(value: Any, argument: str, allowed: tuple[str, ...]) -> str:
    """The argument as one of the allowed names, given in any case."""
    if not isinstance(value, str) or value.lower() not in allowed:
        raise ValueError(f"{argument} must be one of {', '.join(allowed)}, got {value!r}")
    return value.lower()


def checked_shape(shape: Shape) -> tuple[int, ...]:
    """The shape as a tuple of Python ints, checked."""
    try:
        sizes = tuple(map(operator.index, shape if isinstance(shape, Iterable) else (shape,)))
    except TypeError:
        raise TypeError(f"shape must be an int or a sequence of ints, got {shape!r}") from None
    if sizes and min(sizes) < 0:
        raise ValueError(f"shape {sizes} has a negative size")
    if math.prod(sizes) >= 2**64:
        raise ValueError(f"shape {sizes} has {math.prod(sizes)} weights; positions are numbered in 64 bits")
    return sizes

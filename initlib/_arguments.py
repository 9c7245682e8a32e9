"""Checks of arguments that functions share. An error names the argument, the allowed values and the given value."""

import math
import operator
from collections.abc import Iterable, Sequence
from typing import SupportsFloat, SupportsIndex

import numpy as np

Shape = int | Sequence[SupportsIndex]


def real(value: SupportsFloat, argument: str, *, or_infinite: bool = False) -> float:
    """Return the argument as a float, or raise TypeError or ValueError."""
    if type(value) is float and math.isfinite(value):  # the usual type first
        return value
    if isinstance(value, (str, bytes, complex)):
        raise TypeError(f"{argument} must be a real number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        is_shape = isinstance(value, (tuple, list)) and all(type(size) is int for size in value)
        hint = f". If {value} is a shape, pass the shape to the initializer that this call returns" if is_shape else ""
        raise TypeError(f"{argument} must be a real number, got {value!r}{hint}") from None
    except OverflowError:
        raise ValueError(f"{argument} must be below 1.8e308, got a larger int") from None
    if math.isnan(number) or (math.isinf(number) and not or_infinite):
        raise ValueError(f"{argument} must be {'a number' if or_infinite else 'finite'}, got {number!r}")
    return number


def positive(value: SupportsFloat, argument: str, *, or_zero: bool = False) -> float:
    """Return the argument as a positive float, or raise TypeError or ValueError."""
    number = real(value, argument)
    if number < 0 or (number == 0 and not or_zero):
        raise ValueError(f"{argument} must be {'at least' if or_zero else 'above'} 0, got {number!r}")
    return number


def integer(value: SupportsIndex, argument: str, *, least: int | None = None, below: int | None = None) -> int:
    """Return the argument as an int of at least `least` and below `below`, or raise TypeError or ValueError."""
    if type(value) is int:  # the usual type first
        number = value
    elif isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{argument} must be an int, got {value!r}")
    else:
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


def choice(value: str, argument: str, allowed: tuple[str, ...]) -> str:
    """Return the argument in lower case, or raise ValueError unless it is one of the allowed names."""
    if not isinstance(value, str) or value.lower() not in allowed:
        raise ValueError(f"{argument} must be one of {', '.join(allowed)}, got {value!r}")
    return value.lower()


def checked_shape(shape: Shape) -> tuple[int, ...]:
    """Return the shape as a tuple of Python ints, or raise TypeError or ValueError."""
    try:  # the usual type first: the second test is slow
        several = shape if type(shape) is tuple or isinstance(shape, Iterable) else (shape,)
        sizes = tuple(map(operator.index, several))
    except TypeError:
        raise TypeError(f"shape must be an int or a sequence of ints, got {_described(shape)}") from None
    if sizes and min(sizes) < 0:
        raise ValueError(f"shape must have no negative size, got {sizes}")
    if math.prod(sizes) >= 2**64:
        raise ValueError(f"shape must hold fewer than 2**64 weights, got {sizes} with {math.prod(sizes)}")
    return sizes


def check_one_shape(*arguments: object) -> None:
    """Raise TypeError if all positional arguments are ints: the sizes of a shape."""
    if all(type(argument) is int for argument in arguments):
        raise TypeError(f"shape must be one argument, got {', '.join(map(str, arguments))}. Pass a tuple: {arguments}")


def _described(shape: object) -> str:
    """Return the value for an error: of a tensor its shape, and how to fill a tensor."""
    if not hasattr(shape, "shape") or not hasattr(shape, "dtype"):
        return repr(shape)
    return (
        f"a {type(shape).__name__} of shape {tuple(shape.shape)}. Pass its shape, or fill a PyTorch tensor in place: "
        "initlib.adapters.torch.fill_(tensor, initializer)"
    )

"""Regularities of arrays: values that a constructor sets and no initializer draws."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Read = Callable[[Any], NDArray[Any] | None]  # from an index to values; None where the values cannot be read

FEW = 8  # values that rule out most regularities before all values are read
SMOOTH = 0.7  # the correlation of neighbours from which on a matrix was not drawn: 11 sigmas for 240 independent pairs


def is_monotone(values: NDArray[Any]) -> bool:
    """Return whether the values of a vector of 3 or more never rise, or never fall."""
    if values.size < 3 or values.dtype.kind == "c":
        return False
    first = values[:FEW].tolist()
    if first != sorted(first) and first != sorted(first, reverse=True):
        return False
    return bool((values[1:] >= values[:-1]).all() or (values[1:] <= values[:-1]).all())


def is_regular(values: NDArray[Any]) -> bool:
    """Return whether all rows or all columns are equal, along any axis, or the values are a mask or an identity."""
    first, step = values.item(0), values.size
    for axis, size in enumerate(values.shape):
        step //= size  # from an element to the next one along the axis
        if size > 1 and values.item(step) == first and bool((values == values.take([0], axis)).all()):
            return True
    if first == 1 and values.ndim == 2 and min(values.shape) > 1 and bool((values == np.eye(*values.shape)).all()):
        return True
    return _is_binary(values)


def _is_binary(values: NDArray[Any]) -> bool:
    """Return whether all values but zeros have one absolute value, as in masks, one-hot rows and signs."""
    if len({abs(value) for value in values.flat[:FEW].tolist() if value}) > 1:
        return False
    others = np.abs(values[values != 0])
    return others.size > 2 and bool((others == others[0]).all())


def has_set_edge(read: Read, shape: tuple[int, ...]) -> bool:
    """Return whether the first or last row or column of a matrix is binary: three equal weights are not by chance."""
    if len(shape) != 2:
        return False
    for axis, size in enumerate(shape):
        along = shape[1 - axis]
        for start in {0, size - 1}:
            for count in {min(FEW, along), along}:  # a few values rule out most edges
                part = slice(start, start + 1), slice(0, count)
                edge = read(part if axis == 0 else part[::-1])
                if edge is None or not _is_binary(edge):
                    break
            else:
                return True
    return False


def is_smooth(values: NDArray[Any]) -> bool:
    """Return whether neighbours in a matrix are alike, as in a table of sinusoids and in no independent draw."""
    matrix = values.squeeze()
    if matrix.ndim != 2 or min(matrix.shape) < 4 or matrix.size < 128 or matrix.dtype.kind == "c":
        return False
    centred = matrix.astype(np.float64)
    centred -= centred.sum() / centred.size
    square = float(np.vdot(centred, centred)) / centred.size
    if not 0 < square < math.inf:
        return False
    pairs = ((centred[1:], centred[:-1]), (centred[:, 1:], centred[:, :-1]))
    return any(float(np.vdot(one, other)) / one.size > SMOOTH * square for one, other in pairs)


def constant_of(array: NDArray[Any]) -> float | None:
    """Return the value of an array whose weights are all equal and finite; None for every other array.

    >>> constant_of(np.full(3, 1e-6, np.float32))
    1e-06
    """
    if not array.size or array.item(0) != array.item(array.size - 1):
        return None
    weights = array.ravel()
    if weights.dtype.kind == "c" and weights[0].imag:
        return None
    few = weights[:: max(1, weights.size // FEW)]
    if not bool((few == weights[0]).all() and (weights == weights[0]).all()):
        return None
    number = float(weights[0].real)
    if not math.isfinite(number):
        return None
    if number in (0.0, 1.0) or array.dtype in (np.float64, np.complex128):
        return number
    return float(str(np.float32(number)))  # the shortest decimal of the same bits: 1e-6, not 9.999999974752427e-07

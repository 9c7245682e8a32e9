"""Statistics of activations, gradients and weights, the same for every framework."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

EXACT = 32  # the most rows or columns for which all singular values are computed: beyond, Lanczos is faster
STEPS = 80  # the most steps of Lanczos
SETTLED = 1e-10  # the relative change of the square in ten steps at which Lanczos stops


class Moments(NamedTuple):
    """Mean, standard deviation and mean square of all numbers of an array."""

    mean: float
    std: float
    mean_square: float


class Channels(NamedTuple):
    """Statistics of the units of an activation: the last axis, or the one after the batch."""

    width: int  # the number of units
    dead: float  # the share of units that have one value for every input and position
    mean_square: float  # over units, the mean of their squared mean
    variance: float  # over units, the mean of their variance over inputs and positions: the signal


def moments(values: Array) -> Moments:
    """Return the moments of an array, in float64; infinite after an overflow."""
    x = np.asarray(values, np.float64)
    if not x.size:
        return Moments(math.nan, math.nan, math.nan)
    with np.errstate(all="ignore"):
        return Moments(float(x.mean()), float(x.std()), float((x * x).mean()))


def mean_absolute(values: Array) -> float:
    """Return the mean of the absolute values of an array, in float64."""
    return float(np.abs(np.asarray(values, np.float64)).mean()) if values.size else math.nan


def channels(values: Array, axis: int = -1) -> Channels:
    """Return statistics of the units along an axis. With one observation alone, units that are 0 count as dead."""
    x = np.asarray(values, np.float64)
    x = x.reshape(1, 1) if x.ndim == 0 else x
    units = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
    if not units.size:
        return Channels(x.shape[axis], math.nan, math.nan, math.nan)
    with np.errstate(all="ignore"):
        still = (units == units[0]).all(axis=0) if len(units) > 1 else units[0] == 0
        return Channels(
            units.shape[1],
            float(still.mean()),
            float((units.mean(axis=0) ** 2).mean()),
            float(units.var(axis=0).mean()),
        )


def signal(values: Array, axis: int = -1) -> float:
    """Return the std over the batch, the first axis, as a root mean square over units and positions.

    This is the part of an activation that depends on the input. With one example in the batch, positions take its
    place; with one observation, units.
    """
    x = np.asarray(values, np.float64)
    if not x.size:
        return math.nan
    with np.errstate(all="ignore"):
        if x.ndim < 2 or x.size == x.shape[axis]:
            return float(x.std())
        if len(x) == 1:
            return math.sqrt(channels(x, axis).variance)
        return math.sqrt(float(x.var(axis=0).mean()))


def top_singular_value(matrix: Array) -> float:
    """Return the largest singular value of a matrix, by Lanczos where the matrix is large.

    >>> round(top_singular_value(np.diag([3.0, -5.0])), 9)
    5.0
    """
    a = np.asarray(matrix, np.float64)
    if not a.size:
        return 0.0
    if not np.isfinite(a).all():
        return math.nan
    if a.shape[0] < a.shape[1]:
        a = a.T
    scale = float(np.abs(a).max()) or 1.0  # squares neither overflow nor vanish
    a = a / scale
    if a.shape[1] <= EXACT:
        return scale * math.sqrt(max(float(np.linalg.eigvalsh(a.T @ a)[-1]), 0.0))
    # Lanczos on a'a. Every direction is made orthogonal to all before, and the first one has no symmetry.
    basis = np.zeros((STEPS, a.shape[1]))
    projected = np.zeros((STEPS, STEPS))
    start = np.cos(np.arange(a.shape[1]) ** 2 * 0.7) + 0.1
    basis[0] = start / np.linalg.norm(start)
    largest = 0.0
    for k in range(STEPS):
        mapped = a.T @ (a @ basis[k])
        projected[: k + 1, k] = projected[k, : k + 1] = basis[: k + 1] @ mapped
        v = mapped
        for _ in range(2):
            v = v - basis[: k + 1].T @ (basis[: k + 1] @ v)
        norm = float(np.linalg.norm(v))
        done = k + 1 == STEPS or norm <= SETTLED * float(np.linalg.norm(mapped))
        if done or k % 10 == 9:
            before, largest = largest, float(np.linalg.eigvalsh(projected[: k + 1, : k + 1])[-1])
            if done or largest - before <= SETTLED * largest:
                break
        basis[k + 1] = v / norm
    return scale * math.sqrt(max(largest, 0.0))

"""Tolerance of comparisons: the promised accuracy of weights whose last bits depend on the engine.

docs/promise.md promises 1e-6: of products of matrices, relative to the gain; of logarithms, relative to the greatest
weight; of exponentials, relative to the weight; of new weights with the statistics of old ones, relative to the std;
and of a mean other than 0, where a compiler may fuse its addition.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dtypes import DTYPES
from ..plans.entry import Entry
from ..plans.fills.new_weights import NewWeights
from ..schemes.initializer import Initializer
from .held import Place, Values

TOLERANCE = 1e-6
RELATIVE_TO_GREATEST = {"orthogonal", "delta_orthogonal", "logarithm"}
EXPONENTIALS = {"log_uniform", "inverse_softplus"}


def allow_for_tolerance(
    differs: NDArray[np.bool_], entry: Entry, place: Place, drawn: Values, held: Values, *, fused: bool
) -> None:
    """Clear the marks of weights that are equal within the promise. All arrays have the shape of the place."""
    for piece, outer, _ in entry.boxes(place):
        if isinstance(piece.initializer, NewWeights):
            scale: float | None = piece.initializer.scale
        else:
            scale = _scale(piece.drawn, piece.shape, piece.axes, fused)
        if scale is not None:
            box = (*outer, ...)
            differs[box] &= ~close(drawn[box], held[box], entry.parameter.dtype, scale)


def close(drawn: Values, held: Values, dtype: str, scale: float = 0.0) -> NDArray[np.bool_]:
    """Return a mask of the values, computed in any dtype, that equal weights of a dtype within the promise."""
    wide = np.complex128 if DTYPES[dtype].part else np.float64
    expected, given = drawn.astype(wide), held.astype(wide)
    with np.errstate(invalid="ignore", over="ignore"):
        # A weight near a tie may round to its neighbour.
        allowed = TOLERANCE * np.maximum(abs(expected), scale) + _epsilon(dtype) * abs(expected)
        near: NDArray[np.bool_] = abs(expected - given) <= allowed
    near |= expected == given
    return near


def _epsilon(dtype: str) -> float:
    """Return the distance from 1 to the next number of a dtype."""
    if dtype == "bfloat16":
        return 2.0**-7
    if dtype.startswith("float8"):
        return 2.0**-3 if "e4" in dtype else 2.0**-2
    return float(np.finfo(DTYPES[dtype].part or dtype).eps)


def _scale(initializer: Initializer | None, shape: tuple[int, ...], axes: str, fused: bool) -> float | None:
    """Return the scale of the promised error, beside the size of the weight; None where all bits are promised."""
    if initializer is None:
        return None
    factories = _factories(initializer)
    if factories & RELATIVE_TO_GREATEST:
        greatest = max(map(abs, initializer.bounds(shape, axes)))
        return greatest if np.isfinite(greatest) else 0.0
    if factories & EXPONENTIALS:
        return 0.0
    return initializer.std(shape, axes) if fused and initializer.adds_mean(shape, axes) else None


def _factories(initializer: Any) -> set[str]:
    """Return the factories of an initializer and of the initializers in it; none for an array of values."""
    if not isinstance(initializer, Initializer):
        return set()
    return {initializer.factory}.union(*map(_factories, initializer.get_config().values()))

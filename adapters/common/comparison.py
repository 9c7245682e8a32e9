"""Comparison of the weights that a model holds with those of a plan's entry."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initlib import Initializer, Key
from initlib.dtypes import DTYPES, numpy_dtype
from initlib.plans.entry import Entry
from initlib.stream.boxes import Box, Piece, Pieces, box_index, box_inside

LARGE = 2**21  # weights that are drawn and read at a time
SMALL = 1024  # weights of one sample
SAMPLES = 16  # samples of each box
TOLERANCE = 1e-6  # of weights that are products of matrices, relative to the largest

Read = Callable[[tuple[int | slice, ...]], NDArray[Any]]  # from an index of the memory to its values


def first_difference(entry: Entry, key: Key, box: Box, read: Read, *, whole: bool) -> tuple[int, ...] | None:
    """Return the index in the full weight of the first weight in memory that differs from the draw, if one does.

    `box` is the box of the weight that the memory holds, without dropped axes, and `read` returns values of the memory
    in the parameter's dtype. Samples are compared, or the whole memory, also where a sample differs.
    """
    full_draw = any(isinstance(init, Initializer) and init.requires_full_draw for init in _initializers(entry))
    sizes = tuple(part.size for part in box)
    pieces = Pieces(sizes, max(1, int(np.prod(sizes))) if full_draw else LARGE if whole else SMALL)
    for piece in pieces if whole else pieces.sample(SAMPLES):
        differs = _differences(entry, key, box, read, piece)
        if not differs.any():
            continue
        if not whole and len(pieces) > 1:
            return first_difference(entry, key, box, read, whole=True)
        place = np.unravel_index(piece.start + int(differs.argmax()), sizes)
        return tuple(part.start + part.step * int(at) for part, at in zip(box, place, strict=True))
    return None


def _initializers(entry: Entry) -> list[Any]:
    return [weight.initializer for weight in entry.pieces]


def _differences(entry: Entry, key: Key, box: Box, read: Read, piece: Piece) -> NDArray[np.bool_]:
    """Return which weights of a piece differ, in row-major order. NaN equals NaN, and 0 differs from -0."""
    dtype = numpy_dtype(entry.parameter.dtype)
    stored = np.ascontiguousarray(read(piece.index)).reshape(piece.shape)
    index = box_index(box_inside(box, piece.index))
    drawn = entry.draw(key, index, stored.copy())  # a kept part stays as it is in memory
    bits = f"V{dtype.itemsize}"
    differs: NDArray[np.bool_] = (drawn.reshape(-1).view(bits) != stored.reshape(-1).view(bits)).reshape(piece.shape)
    if differs.any():
        _allow_for_tolerance(differs, entry, index, drawn, stored)
    return differs.reshape(-1)


def _allow_for_tolerance(
    differs: NDArray[np.bool_], entry: Entry, index: Any, drawn: NDArray[Any], stored: NDArray[Any]
) -> None:
    """Clear the marks of products of matrices that are equal within the tolerance and one rounding."""
    part = DTYPES[entry.parameter.dtype].part
    epsilon = 2.0**-7 if entry.parameter.dtype == "bfloat16" else float(np.finfo(part or drawn.dtype).eps)
    for weight, outer, _ in entry.boxes(index):
        if isinstance(weight.initializer, Initializer) and weight.initializer.requires_full_draw:
            wide = np.complex128 if part else np.float64
            one, other = (array[(*outer, ...)].astype(wide) for array in (drawn, stored))
            largest = max(map(abs, weight.initializer.bounds(weight.shape, weight.axes)))
            with np.errstate(invalid="ignore"):
                close = abs(one - other) <= TOLERANCE * min(largest, 1e30) + epsilon * abs(one)
            differs[(*outer, ...)] &= ~close

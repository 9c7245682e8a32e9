"""Matrices with orthogonal rows or columns: orthogonal and delta-orthogonal weights."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...axes import canonical
from ...axes import match as roles
from ...files.readers.stored_tensor import StoredTensor
from .match import Match

Array = NDArray[Any]

EPS = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # the relative rounding error of a weight
SAME_GAIN = 1e-3
STACK = 0  # the role of a stack axis in `axes.match`
TOGETHER = 64  # the rows or columns whose angles are measured
MOST_TOGETHER = 2**23  # the numbers of those rows or columns
LARGEST_DELTA = 2**23  # the weights of a delta-orthogonal tensor that is read at once


def orthogonal(tensor: StoredTensor, orders: Sequence[str]) -> Match | None:
    """Match orthogonal weights, by the first and the last kernel of a stack."""
    for count in dict.fromkeys(_stacked(tensor.shape, axes) for axes in orders):
        ends = _ends(tensor, count)
        for view in (0, 1) if len(ends[0].shape) > 2 else (0,):
            lines = [_lines(kernel, view) for kernel in ends]
            results = [_right_angles(products, tensor.dtype) if len(products) > 1 else None for _, products in lines]
            gains = [result[0] for result in results if result]
            if len(gains) == len(ends) and abs(gains[0] / gains[-1] - 1) < SAME_GAIN:
                side, products = lines[0]
                test = f"{len(products)} {side} are {results[0][1]}" if results[0] else ""
                each = f"of {count} kernels, the first and the last: " if count > 1 else ""
                return Match(_with_gain("orthogonal", gains[0]), test=each + test)
    return None


def delta_orthogonal(tensor: StoredTensor, zeros: int, orders: Sequence[str]) -> Match | None:
    """Match an orthogonal matrix at the centre of a kernel that is 0 elsewhere."""
    if not 3 <= len(tensor.shape) <= 5 or tensor.size > LARGEST_DELTA:
        return None
    full = np.concatenate(list(tensor.pieces()))
    for axes in orders:
        form = canonical(tensor.shape, axes)
        stacks, _, columns = form.matrices
        kernels = form.arrange(full).reshape(stacks, *form.field, -1, columns)
        matrices = kernels[:, *((size - 1) // 2 for size in form.field)].astype(np.float64)
        if np.count_nonzero(matrices) != tensor.size - zeros:
            continue
        short = matrices if matrices.shape[1] <= columns else matrices.swapaxes(1, 2)
        results = [_right_angles(matrix @ matrix.T, tensor.dtype) for matrix in short]
        gains = [result[0] for result in results if result]
        if results[0] and len(gains) == stacks and max(abs(gain / gains[0] - 1) for gain in gains) < SAME_GAIN:
            test = f"0 but at the centre, where {short.shape[1]} lines are {results[0][1]}"
            return Match(_with_gain("delta_orthogonal", gains[0]), axes=axes, test=test)
    return None


def _lines(tensor: StoredTensor, view: int) -> tuple[str, Array]:
    """Return the name of the shorter side of a matrix, and the products of each two of its first lines.

    The matrix has the first axis as rows (view 0), or the last axis as columns (view 1).
    """
    rows = tensor.shape[0] if view == 0 else tensor.size // tensor.shape[-1]
    columns = tensor.size // rows
    count = min(TOGETHER, rows, columns, max(2, MOST_TOGETHER // columns))
    if rows <= columns:
        matrix = first_rows(tensor, columns, count).astype(np.float64)
        return "rows", matrix @ matrix.T
    products = np.zeros((count, count))
    for piece in tensor.pieces():
        part = piece.reshape(-1, columns)[:, :count].astype(np.float64)
        products += part.T @ part
    return "columns", products


def first_rows(tensor: StoredTensor, columns: int, count: int, most_columns: int | None = None) -> Array:
    """Read the first rows of a tensor as a matrix of that many columns."""
    pieces: list[Array] = []
    remaining = count
    for piece in tensor.pieces():
        pieces.append(piece.reshape(-1, columns)[:remaining, :most_columns].copy())
        remaining -= len(pieces[-1])
        if not remaining:
            break
    return np.concatenate(pieces)


def _right_angles(products: Array, dtype: str) -> tuple[float, str] | None:
    """Return the gain of orthogonal lines of one length, and the test; None for other lines."""
    squares = products.diagonal()
    length = float(squares.mean())
    if not length > 0:
        return None
    bend = float(np.abs(products - np.diag(squares)).max()) / length
    spread = float(np.abs(squares / length - 1).max())
    if max(bend, spread) > max(2e-4, 4 * EPS.get(dtype, 0.0)):
        return None
    return math.sqrt(length), f"orthogonal within {bend:.1g}, of equal length within {spread:.1g}"


def _with_gain(name: str, gain: float) -> str:
    return name if abs(gain - 1) < SAME_GAIN else f"{name}(gain={gain:.4g})"


def _stacked(shape: tuple[int, ...], axes: str) -> int:
    """Return the number of kernels along the first axis."""
    return math.prod(size for role, size in roles(shape, axes)[0] if role == STACK)


def _ends(tensor: StoredTensor, count: int) -> list[StoredTensor]:
    """Return the first and the last of `count` kernels along the first axis."""
    if count < 2:
        return [tensor]
    rows = tensor.shape[0] // count
    ends = [tensor.part(start, start + rows) for start in (0, tensor.shape[0] - rows)]
    return [end._replace(shape=end.shape[1:]) for end in ends] if rows == 1 and len(tensor.shape) > 2 else ends

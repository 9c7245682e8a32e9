"""Values that a constructor computed: a mask, a table of sinusoids, a grid of numbers, which no initializer draws."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 16  # of a matrix that are looked at


def is_computed(values: NDArray[Any]) -> bool:
    """Return whether the values of a matrix were visibly computed, not drawn.

    A drawn row is not sorted, and holds few values twice. The squares of a row of sines and cosines sum to half of its
    length.

    >>> rng = np.random.default_rng(0)
    >>> is_computed(np.tri(8)), is_computed(np.arange(64.0).reshape(8, 8)), is_computed(rng.normal(size=(8, 8)))
    (True, True, False)
    """
    if values.ndim < 2 or values.shape[-1] < 2 or not values.size or values.dtype.kind == "c":
        return False
    rows = values.reshape(-1, values.shape[-1])
    rows = rows[np.linspace(0, len(rows) - 1, min(ROWS, len(rows)), dtype=int)].astype(np.float64)
    most = 0.9 if values.dtype.itemsize > 2 else 0.25  # numbers of 16 bits often meet by chance
    if np.unique(rows).size < most * rows.size and rows.size > 8:
        return True
    steps = np.diff(rows)
    if rows.shape[1] > 4 and len(rows) > 2 and bool(((steps >= 0).all(1) | (steps <= 0).all(1)).all()):
        return True
    squares = np.square(rows).sum(1)
    return len(rows) > 2 and bool(np.allclose(squares[squares > 0], rows.shape[1] / 2, rtol=1e-2))

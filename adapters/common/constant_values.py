"""Built: what a vector was built with, read from the values that it holds."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def constant_of(array: NDArray[Any]) -> float | None:
    """The value of an array whose weights are all equal and finite; None for every other.

    >>> constant_of(np.full(3, 1e-6, np.float32))
    1e-06
    """
    weights = array.ravel()
    if not weights.size or not bool((weights == weights[0]).all()) or not math.isfinite(weights[0]):
        return None
    # The shortest decimal of the same bits: 1e-6, not 9.999999974752427e-07.
    return float(weights[0]) if array.dtype == np.float64 else float(str(np.float32(weights[0])))

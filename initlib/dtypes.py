"""The dtypes of weights, by name."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["dtype_name", "numpy_dtype", "rounded"]

NAMES = ("float16", "bfloat16", "float32", "float64")


@lru_cache(maxsize=64)
def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of that name; bfloat16 is the one of ml_dtypes."""
    if name != "bfloat16":
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError("dtype 'bfloat16' of NumPy needs the package ml_dtypes: pip install ml_dtypes") from None
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


def dtype_name(dtype: Any) -> str:
    """The name of a dtype given as a name, a NumPy dtype or a scalar type."""
    if isinstance(dtype, str) and dtype in NAMES:
        return dtype
    try:
        given = np.dtype(dtype)
    except TypeError:
        given = None
    if dtype is None or given is None or given.name not in NAMES or not given.isnative:
        raise TypeError(f"dtype must be one of {', '.join(NAMES)}, got {dtype!r}")
    return str(given.name)


def rounded(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The values in the dtype of that name. Raises ValueError where they overflow it."""
    with np.errstate(over="ignore"):
        narrow = values.astype(numpy_dtype(dtype), copy=False)
    if narrow is not values and np.isinf(narrow).any() and np.isfinite(values[np.isinf(narrow)]).any():
        raise ValueError(f"weights as large as {float(np.abs(values).max()):.3g} overflow {dtype}")
    return narrow

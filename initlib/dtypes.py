"""The dtypes of weights: one record each, which the kernel, the adapters and the command line read."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._rounding import check_rounding


class DType(NamedTuple):
    """What the library knows of a dtype."""

    wide: str  # what weights of it are computed in, before their last rounding
    kernel: int | None = None  # its number in the kernel, which draws it
    part: str | None = None  # of a complex dtype: the dtype of its real and of its imaginary part


# A new dtype is a line here and, if the kernel is to draw it, a case in `_kernel.c`.
DTYPES = {
    "float16": DType("float32", kernel=3),
    "bfloat16": DType("float32", kernel=4),
    "float32": DType("float32", kernel=1),
    "float64": DType("float64", kernel=2),
    "complex64": DType("complex64", part="float32"),
    "complex128": DType("complex128", part="float64"),
}
REAL = tuple(name for name, dtype in DTYPES.items() if dtype.part is None)
COMPLEX = tuple(name for name, dtype in DTYPES.items() if dtype.part is not None)


@lru_cache(maxsize=64)
def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of that name; bfloat16, which NumPy has not, is the one of ml_dtypes."""
    if hasattr(np, name):
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError(f"dtype {name!r} of NumPy needs the package ml_dtypes: pip install ml_dtypes") from None
    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    return dtype


def dtype_name(dtype: Any) -> str:
    """The name of a dtype given as a name, a NumPy dtype or scalar type, or the dtype object of any framework."""
    if isinstance(dtype, str) and dtype in DTYPES:
        return dtype
    name = None
    try:
        given = np.dtype(dtype)
    except TypeError:
        if not isinstance(dtype, (str, type)):
            # TensorFlow's dtypes say their name; PyTorch's print as "torch.bfloat16".
            name = getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]
    else:
        name = given.name if given.isnative else None
    if dtype is None or name not in DTYPES:
        raise TypeError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    return str(name)


def rounded(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """The values in the dtype of that name. Raises ValueError where they overflow it."""
    check_rounding()
    with np.errstate(over="ignore"):
        narrow = values.astype(numpy_dtype(dtype), copy=False)
    if narrow is not values and np.isinf(narrow).any() and np.isfinite(values[np.isinf(narrow)]).any():
        raise ValueError(f"weights as large as {float(np.abs(values).max()):.3g} overflow {dtype}")
    return narrow


@lru_cache(maxsize=1024)
def rounded_once(value: float, dtype: str) -> float:
    """The number as a weight of that dtype: what every engine then holds exactly, however it computes."""
    return float(rounded(np.array(value), DTYPES[dtype].part or dtype))

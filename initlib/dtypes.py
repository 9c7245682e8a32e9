"""Dtypes of weights: one record each, which the kernel, the adapters and the command line read."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._rounding import check_rounding

DTypeLike = object  # a name, a NumPy dtype or scalar type, or the dtype object of any framework


class DType(NamedTuple):
    """Properties of a dtype that drawing depends on."""

    wide: str  # the dtype in which weights are computed before their last rounding
    kernel: int | None = None  # the number of the dtype in the compiled kernel; None: the reference draws it
    part: str | None = None  # of a complex dtype: the dtype of its real and of its imaginary part


# A new dtype is a line here and, if the compiled kernel draws it, a case in `_kernel.c`.
DTYPES = {
    "float16": DType("float32", kernel=3),
    "bfloat16": DType("float32", kernel=4),
    "float32": DType("float32", kernel=1),
    "float64": DType("float64", kernel=2),
    "float8_e4m3fn": DType("float32"),
    "float8_e5m2": DType("float32"),
    "complex64": DType("complex64", part="float32"),
    "complex128": DType("complex128", part="float64"),
}


@lru_cache(maxsize=64)
def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the NumPy dtype of that name; bfloat16 and the float8 dtypes are those of ml_dtypes."""
    if hasattr(np, name):
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError:
        raise ImportError(f"dtype {name!r} of NumPy needs the package ml_dtypes: pip install ml_dtypes") from None
    return np.dtype(getattr(ml_dtypes, name))


def dtype_name(dtype: DTypeLike) -> str:
    """Return the name of a dtype, or raise TypeError where weights cannot have that dtype."""
    if isinstance(dtype, str) and dtype in DTYPES:
        return dtype
    name = None
    try:
        known = np.dtype(dtype)  # type: ignore[call-overload]  # a foreign object raises TypeError
    except TypeError:
        if not isinstance(dtype, (str, type)):
            # TensorFlow's dtypes have a name; PyTorch's print as "torch.bfloat16".
            name = getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]
    else:
        name = known.name if known.isnative else None
    if dtype is None or name not in DTYPES:
        from difflib import get_close_matches

        near = get_close_matches(str(dtype), DTYPES, 1, 0.5)
        hint = f". Nearest: {near[0]}" if near and isinstance(dtype, str) else ""
        raise TypeError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}{hint}")
    return str(name)


def rounded(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return the values in the dtype of that name, or raise ValueError where finite values overflow the dtype."""
    check_rounding()
    with np.errstate(over="ignore"):
        narrow = values.astype(numpy_dtype(dtype), copy=False)
    if narrow is not values:
        lost = ~np.isfinite(narrow)  # float8_e4m3fn has no infinity: overflow gives NaN
        if lost.any() and np.isfinite(values[lost]).any():
            raise ValueError(
                f"weights as large as {float(np.abs(values).max()):.3g} overflow {dtype}. Pass a smaller scale, or a "
                "wider dtype"
            )
    return narrow


def odd_float32(values: NDArray[Any]) -> NDArray[Any]:
    """Round float64 numbers to odd: a number between two float32 becomes the one whose last bit is 1.

    A later rounding to a narrower dtype then gives the same result as one rounding of the float64 numbers.

    >>> tie = np.array([1 + 2**-8 + 2**-40])  # just above the middle of two bfloat16
    >>> float(tie.astype("float32")[0]) == 1 + 2**-8, float(odd_float32(tie)[0]) == 1 + 2**-8 + 2**-23
    (True, True)
    """
    with np.errstate(over="ignore"):
        nearest: NDArray[Any] = values.astype(np.float32)
    between = (nearest != values) & ~np.isnan(values)
    bits = nearest.view(np.uint32)
    bits -= np.abs(nearest) > np.abs(values)  # the bits of the number next to it, nearer to 0
    bits |= between
    return nearest


@lru_cache(maxsize=1024)
def rounded_once(value: float, dtype: str) -> float:
    """Return the number as a weight of the dtype, which every dtype that engines compute in holds exactly."""
    return float(rounded(np.array(value), DTYPES[dtype].part or dtype))

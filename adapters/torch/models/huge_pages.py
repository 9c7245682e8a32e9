"""Huge pages for new memory on Linux: the system hands out 2 MiB at a time, which is faster than 4 KiB at a time."""

import ctypes
import mmap
from functools import cache
from typing import Any

from torch import Tensor

LEAST = 2**22  # bytes, as in NumPy: smaller memory holds few full huge pages


def ask_for_huge_pages(tensor: Tensor) -> None:
    """Let the system use huge pages for the memory of a large tensor on the CPU, which nothing has written to yet.

    The memory stays PyTorch's: a storage that another allocator made could not be resized. The advice takes effect
    where the memory is first written, and is no error where the system has no huge pages.
    """
    if tensor.nbytes < LEAST or not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    start, stop = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    _madvise()(first, stop - first, mmap.MADV_HUGEPAGE)


@cache
def _madvise() -> Any:
    """Return `madvise` of the C library. The `madvise` of Python is only for memory of `mmap`."""
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return madvise

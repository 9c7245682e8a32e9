"""Tensors of a safetensors file, of an index of several, or of a folder that holds one of them."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..folder import checkpoint_files
from ..header import BITS, Header, Stored
from .stored_tensor import StoredTensor, exactly, numbers


def tensors(path: Path) -> Iterator[StoredTensor]:
    """The tensors, in the order of their bytes. Raises what `Header.read` raises."""
    for file in checkpoint_files(path):
        header = Header.read(file)
        for name, stored in header.tensors.items():
            dtype = stored.dtype_name or stored.dtype.lower()
            if BITS[stored.dtype] % 8:
                yield StoredTensor.without(name, stored.shape, dtype, "its numbers are narrower than a byte")
            else:
                yield StoredTensor(name, stored.shape, dtype, partial(_blocks, file, header.data, stored))


def _blocks(path: Path, data: int, stored: Stored, rows: int) -> Iterator[NDArray[Any]]:
    count, *rest = stored.shape or (1,)
    row = (stored.stop - stored.start) // count
    # Not mapped: what is mapped fails hard where the file shrinks meanwhile.
    with path.open("rb") as file:
        file.seek(data + stored.start)
        for start in range(0, count, rows):
            some = min(rows, count - start)
            yield _decoded(exactly(file, some * row, str(path)), stored.dtype_name).reshape(some, *rest)


def _decoded(raw: bytes, name: str | None) -> NDArray[Any]:
    """Numbers of their bytes, which are little-endian."""
    if name == "bfloat16":  # the upper half of a float32: ml_dtypes need not be there
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    if name is not None and name.startswith("float8"):
        try:
            import ml_dtypes
        except ImportError:
            raise ImportError(f"dtype {name} needs the package ml_dtypes: pip install ml_dtypes") from None
        return numbers(np.frombuffer(raw, getattr(ml_dtypes, name)))
    return numbers(np.frombuffer(raw, np.dtype(name).newbyteorder("<")))

"""Tensors of a .npy or a .npz of NumPy. Nothing is unpickled."""

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .stored_tensor import LARGEST, StoredTensor, exactly, numbers

Open = Callable[[], IO[bytes]]


def array(path: Path) -> Iterator[StoredTensor]:
    """The tensor of a .npy, named like the file."""
    yield _tensor(path.stem, lambda: path.open("rb"))


def arrays(path: Path) -> Iterator[StoredTensor]:
    """The tensors of a .npz, whose file stays open until the last of them."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                yield _tensor(member.removesuffix(".npy"), partial(archive.open, member))


def _tensor(name: str, opened: Open) -> StoredTensor:
    with _sound(name), opened() as file:
        shape, in_columns, dtype = _header(file, name)
    if dtype.kind not in "biufc":
        return StoredTensor.without(name, shape, str(dtype), "it holds no numbers; what is pickled could run code")
    if in_columns and math.prod(shape) * dtype.itemsize > LARGEST:
        return StoredTensor.without(name, shape, dtype.name, "it is too large to be read, being stored by columns")

    def blocks(rows: int) -> Iterator[NDArray[Any]]:
        count, *rest = shape or (1,)
        with _sound(name), opened() as file:
            _header(file, name)
            if in_columns:
                whole = exactly(file, math.prod(shape) * dtype.itemsize, f"array {name!r}")
                turned = np.frombuffer(whole, dtype).reshape(shape[::-1]).T
                yield from (numbers(turned[start : start + rows]) for start in range(0, count, rows))
                return
            for start in range(0, count, rows):
                some = min(rows, count - start)
                raw = exactly(file, some * math.prod(rest) * dtype.itemsize, f"array {name!r}")
                yield numbers(np.frombuffer(raw, dtype).reshape(some, *rest))

    return StoredTensor(name, shape, dtype.name, blocks)


@contextmanager
def _sound(name: str) -> Iterator[None]:
    """What a broken archive raises, as ValueError."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError) as error:
        raise ValueError(f"array {name!r} is broken: {error}") from None


def _header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """The shape, whether columns come first, and the dtype."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"array {name!r} has version {version} of its format, which numbers need not")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        shape, in_columns, dtype = read(file)
    except (OSError, zipfile.BadZipFile, zlib.error):
        raise
    except Exception as error:  # what NumPy's parser raises, its tokenizer's errors among them
        raise ValueError(f"array {name!r} has no header of NumPy's: {error}") from None
    if any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize >= 2**63:
        raise ValueError(f"array {name!r} has the shape {shape}, which no file holds")
    return shape, bool(in_columns and len(shape) > 1), dtype

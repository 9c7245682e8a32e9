"""Reader of a .npy or a .npz of NumPy. Pickled arrays are refused."""

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..printable import printable
from .stored_tensor import LARGEST, TOO_PACKED, StoredTensor, as_value_errors, numbers, stored_rows, unpacked_limit

Open = Callable[[], IO[bytes]]
KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # of compression: others unpack to thousands of times their size
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, RuntimeError)  # of a broken archive


def array(path: Path) -> Iterator[StoredTensor]:
    """Yield the tensor of a .npy, named like the file."""
    yield _tensor(path.stem, lambda: path.open("rb"))


def arrays(path: Path) -> Iterator[StoredTensor]:
    """Yield the tensors of a .npz, which stays open until the last of them."""
    with zipfile.ZipFile(path) as archive:
        members = sorted(archive.infolist(), key=lambda member: member.header_offset)
        at = 0
        for member in members:
            if member.header_offset < at:
                raise ValueError(f"{path} is broken: the member '{printable(member.filename)}' overlaps another")
            if member.compress_type not in KINDS:
                raise ValueError(f"{path} compresses '{printable(member.filename)}' as NumPy does not")
            at = member.header_offset + 30 + member.compress_size  # at least 30 bytes come before the member
        left = unpacked_limit(path.stat().st_size)
        for member in archive.infolist():
            left -= member.file_size
            name = member.filename.removesuffix(".npy")
            if name != member.filename and left >= 0:
                yield _tensor(name, partial(archive.open, member))
            elif name != member.filename:
                yield StoredTensor.without(name, (), "unknown", TOO_PACKED)


def _tensor(name: str, opened: Open) -> StoredTensor:
    what = f"array '{printable(name)}'"
    broken = partial(as_value_errors, f"{what} is broken", *BROKEN)
    with broken(), opened() as file:
        shape, in_columns, dtype = _header(file, what)
    if dtype.kind not in "biufc":
        return StoredTensor.without(
            name, shape, str(dtype), "the array holds no numbers, and a pickle in the array could run code"
        )
    if in_columns and math.prod(shape) * dtype.itemsize > LARGEST:
        return StoredTensor.without(
            name, shape, dtype.name, "the array is stored by columns, and too large to be read at once"
        )

    def blocks(rows: int) -> Iterator[NDArray[Any]]:
        with broken(), opened() as file:
            _header(file, what)
            if in_columns:
                size = math.prod(shape)
                (whole,) = stored_rows(file, (size,), dtype, size, what)
                turned = whole.reshape(shape[::-1]).T
                yield from (numbers(turned[start : start + rows]) for start in range(0, len(turned), rows))
                return
            yield from map(numbers, stored_rows(file, shape, dtype, rows, what))

    return StoredTensor(name, shape, dtype.name, blocks)


def _header(file: IO[bytes], what: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape, whether columns come first, and the dtype."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{what} must have version (1, 0) or (2, 0) of its format, got {version}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        shape, in_columns, dtype = read(file)
    except (OSError, zipfile.BadZipFile, zlib.error):
        raise
    except Exception as error:  # NumPy's parser raises errors of its tokenizer too
        raise ValueError(f"{what} has no header of NumPy: {printable(str(error))}") from None
    if any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize >= 2**63:
        raise ValueError(f"{what} has a shape that no file can hold, {printable(str(shape))}")
    return shape, bool(in_columns and len(shape) > 1), dtype

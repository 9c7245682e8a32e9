"""Tensors of a safetensors checkpoint, read box by box."""

import math
import os
from contextlib import suppress
from hashlib import sha256
from io import BufferedIOBase, FileIO, RawIOBase
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..dtypes import numpy_dtype
from ..stream.boxes import Box, Part, box_index, full_box
from .folder import INDEX, checkpoint_files
from .header import Header
from .printable import printable
from .regular_file import open_regular

GAP = 512  # bytes: shorter rows are read in full and cut in memory, because each call of read costs more
BAND = 2**22  # bytes that one call reads, unless a row has more
# The properties that change if another file takes the place of a file, or if the file is written to.
STATE = attrgetter("st_dev", "st_ino", "st_size", "st_mtime_ns")


class TensorPlace(NamedTuple):
    """Place of a tensor: its file, its first byte, and the dtype and shape in the header."""

    path: Path
    start: int
    dtype: str
    shape: tuple[int, ...]


class CheckpointSource:
    """Tensors of a safetensors file, an index or a folder, as they were when the headers were read.

    Attributes:
        tensors: the place of each tensor, by name.
        digest: the SHA-256 of the headers, in the order of the files' names.
        size: the number of bytes of all files.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Read the headers. Raises OSError, and ValueError for a broken file or index."""
        self.tensors: dict[str, TensorPlace] = {}
        self.size = 0
        self._states: dict[Path, os.stat_result] = {}
        self._path = Path(path).absolute()
        digest = sha256()
        for file, names in sorted(checkpoint_files(self._path).items()):
            header = self._read_header(file, digest)
            listed = header.tensors if names is None else names
            for name in listed:
                if name not in header.tensors:
                    raise ValueError(f"{file} must hold the tensor '{printable(name)}', as its index states")
                stored = header.tensors[name]
                self.tensors[name] = TensorPlace(file, header.data + stored.start, stored.dtype_name, stored.shape)
        self.digest = digest.hexdigest()

    def _read_header(self, file: Path, digest: Any) -> Header:
        before = file.stat()
        header = Header.read(file)
        with open_regular(file) as opened:
            digest.update(opened.read(header.data))
        self._states[file] = before
        self.size += before.st_size
        self._check(file, file.stat())
        return header

    def _check(self, file: Path, state: os.stat_result) -> None:
        if STATE(state) != STATE(self._states[file]):
            raise ValueError(
                f"{file} must stay as it was when its header was read, got a file that has changed. Make the plan again"
            )

    def has_file(self, path: Path) -> bool:
        """Return whether the path, or the file that it links to, is a file of the checkpoint, or its index."""
        with suppress(OSError):
            state = path.stat()
            own = {each[:2] for each in self._states.values()}
            index = self._path / INDEX if self._path.is_dir() else self._path
            return state[:2] in own or (index.exists() and index.samefile(path))
        return False

    def check_unchanged(self, name: str) -> None:
        """Raise OSError or ValueError if the file of a tensor is not as it was when its header was read."""
        path = self.tensors[name].path
        self._check(path, path.stat())

    def read(self, name: str, box: Box) -> NDArray[Any]:
        """Return a box of a tensor, with all its axes, in the dtype of the file.

        Raises OSError; ValueError if the file has changed since its header was read.
        """
        place = self.tensors[name]
        with open_regular(place.path) as opened, FileIO(opened.fileno(), closefd=False) as file:  # without a buffer
            self._check(place.path, os.fstat(file.fileno()))
            values = read_box(file, place.start, place.shape, numpy_dtype(place.dtype), box)
            self._check(place.path, os.fstat(file.fileno()))
        return values


def read_box(file: RawIOBase, start: int, shape: tuple[int, ...], dtype: np.dtype[Any], box: Box) -> NDArray[Any]:
    """Return a box of a row-major tensor that begins at a byte of a file, with all axes of the tensor.

    The function reads the bytes of the box, and those of gaps in rows of at most `GAP` bytes.
    """
    out = np.empty(tuple(part.size for part in box), dtype)
    if not out.size:
        return out
    # An axis in front, so that even a scalar has an axis along which a call reads rows.
    parts, sizes, target = (Part(0, 1, 1), *(part._replace(drop=False) for part in box)), (1, *shape), out[None]
    full = full_box(sizes)
    bytes_of = [math.prod(sizes[axis + 1 :]) * dtype.itemsize for axis in range(len(sizes))]  # of one index of an axis
    cut = len(sizes) - 1  # the axis of these rows; each row is read in full
    while cut and (parts[cut] == full[cut] or bytes_of[cut - 1] <= GAP):
        cut -= 1
    part, row = parts[cut], bytes_of[cut]
    step = abs(part.step)
    rows_of_call = 1 if step > 1 and step * row > GAP else max(1, BAND // (step * row))
    index = (slice(None, None, step), *box_index(parts[cut + 1 :]))
    is_exact = part.step == 1 and parts[cut + 1 :] == full[cut + 1 :]
    for place in np.ndindex(target.shape[:cut]):
        origin = start + sum(
            (taken.start + taken.step * at) * size for taken, at, size in zip(parts, place, bytes_of, strict=False)
        )
        for begin in range(0, part.size, rows_of_call):
            count = min(rows_of_call, part.size - begin)
            ends = [part.start + part.step * at for at in (begin, begin + count - 1)]
            file.seek(origin + min(ends) * row)
            rows = target[(*place, slice(begin, begin + count))]
            if is_exact:
                read_exactly(file, rows)
            else:
                whole = np.empty((max(ends) - min(ends) + 1, *sizes[cut + 1 :]), dtype)
                read_exactly(file, whole)
                rows[...] = (whole[::-1] if part.step < 0 else whole)[index]
    return out


def read_exactly(file: RawIOBase | BufferedIOBase, memory: NDArray[Any]) -> None:
    """Fill contiguous memory with the next bytes of a file. Raises ValueError where the file ends before."""
    left = memory.reshape(-1).view(np.uint8).data
    while left:
        count = file.readinto(left)
        if not count:
            raise ValueError(f"{getattr(file, 'name', 'the file')} is truncated")
        left = left[count:]

"""Tensors of an HDF5 file, or of the one in a .keras archive. No link leads out of the file."""

import io
import math
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .stored_tensor import LARGEST, StoredTensor, numbers

MEMBER = "model.weights.h5"
MOST_PACKED = 1100  # bytes that one stored byte may stand for: what compresses best stands for fewer


class Part(io.RawIOBase):
    """A part of a file, read as a file of its own."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self.file, self.start, self.size, self.at = file, start, size, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a byte of the part."""
        self.at = max(0, offset + (0, self.at, self.size)[whence])
        return self.at

    def readinto(self, buffer: Any) -> int:
        """Read the bytes from there on, to the end of the part at most."""
        self.file.seek(self.start + self.at)
        raw = self.file.read(max(0, min(len(buffer), self.size - self.at)))
        buffer[: len(raw)] = raw
        self.at += len(raw)
        return len(raw)


def keras_tensors(path: Path) -> Iterator[StoredTensor]:
    """The tensors of a .keras archive, whose weights Keras stores without compression."""
    with zipfile.ZipFile(path) as archive:
        try:
            member = archive.getinfo(MEMBER)
        except KeyError:
            raise ValueError(f"{path} is an archive without {MEMBER}") from None
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{path} has its {MEMBER} compressed, which Keras does not do: unpack it first")
    with path.open("rb") as file:
        file.seek(member.header_offset)
        head = file.read(30)  # the local header says where the member's bytes begin
        if len(head) < 30 or head[:4] != b"PK\3\4":
            raise ValueError(f"{path} is broken: {MEMBER} is not where the archive says")
        start = (
            member.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        )
        yield from _of(Part(file, start, member.file_size), path)


def tensors(path: Path) -> Iterator[StoredTensor]:
    """The tensors of an HDF5 file."""
    with path.open("rb") as file:
        yield from _of(file, path)


def _of(file: Any, path: Path) -> Iterator[StoredTensor]:
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError:
        raise ImportError("weights of Keras, and HDF5, need the package h5py: pip install h5py") from None
    try:
        with h5py.File(file, "r") as opened:
            datasets: list[Any] = []
            opened.visititems(lambda name, found: datasets.append(found) if isinstance(found, h5py.Dataset) else None)
            yield from map(_tensor, datasets)
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"{path} is no HDF5 file, or a broken one: {error}") from None


def _tensor(dataset: Any) -> StoredTensor:
    name, dtype = dataset.name.strip("/").replace("/", "."), dataset.dtype
    shape, stored = tuple(dataset.shape or ()), dataset.id.get_storage_size()
    reason = None
    if dataset.is_virtual or dataset.external:
        reason = "it is in other files, which are not read"
    elif dtype.kind not in "biufc" or dataset.shape is None:
        reason = "it holds no numbers"
    elif math.prod(shape) * dtype.itemsize > MOST_PACKED * stored:
        reason = f"it has {math.prod(shape)} numbers in {stored} bytes: most were never written"
    elif math.prod(dataset.chunks or ()) * dtype.itemsize > LARGEST:
        reason = f"it is stored in chunks of {dataset.chunks}, too large to be read"
    if reason:
        return StoredTensor.without(name, shape, dtype.name, reason)
    return StoredTensor(name, shape, dtype.name, partial(_blocks, dataset))


def _blocks(dataset: Any, rows: int) -> Iterator[NDArray[Any]]:
    if not dataset.shape:
        yield numbers(np.asarray(dataset[()]).reshape(1))
        return
    for start in range(0, dataset.shape[0], rows):
        yield numbers(dataset[start : start + rows])

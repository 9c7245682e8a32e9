"""Reader of an HDF5 file, alone or in a .keras archive. Links to other files are not followed."""

import io
import math
import os
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..printable import printable
from .stored_tensor import LARGEST, TOO_PACKED, StoredTensor, as_value_errors, numbers, unpacked_limit

MEMBER = "model.weights.h5"
MAX_RATIO = 1100  # bytes of numbers for each stored byte: no sound compression of one stage reaches it
FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip", 32000: "lzf"}
PACKING = {1, 4, 32000}  # a dataset may have one of these filters: two unpack to a million times their size


class FilePart(io.RawIOBase):
    """A part of a file, read as a file of its own."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self.file, self.start, self.size, self.at = file, start, size, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a byte of the part."""
        self.at = max(0, offset + (0, self.at, self.size)[whence])
        return self.at

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes, up to the end of the part."""
        self.file.seek(self.start + self.at)
        raw = self.file.read(max(0, min(len(buffer), self.size - self.at)))
        buffer[: len(raw)] = raw
        self.at += len(raw)
        return len(raw)


def keras_tensors(path: Path) -> Iterator[StoredTensor]:
    """Yield the tensors of a .keras archive, whose weights Keras stores without compression."""
    with zipfile.ZipFile(path) as archive:
        try:
            member = archive.getinfo(MEMBER)
        except KeyError:
            raise ValueError(f"{path} is an archive without {MEMBER}") from None
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{path} compresses {MEMBER}, which Keras does not do. Unpack the archive first")
    with path.open("rb") as file:
        file.seek(member.header_offset)
        head = file.read(30)  # the local header holds the lengths of the fields before the member's bytes
        if len(head) < 30 or head[:4] != b"PK\3\4":
            raise ValueError(f"{path} is broken: {MEMBER} is not at the place that the archive gives")
        start = (
            member.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        )
        yield from _of(FilePart(file, start, member.file_size), member.file_size, path)


def tensors(path: Path) -> Iterator[StoredTensor]:
    """Yield the tensors of an HDF5 file."""
    with path.open("rb") as file:
        yield from _of(file, os.fstat(file.fileno()).st_size, path)


def _of(file: Any, size: int, path: Path) -> Iterator[StoredTensor]:
    try:
        import h5py  # type: ignore[import-untyped]
    except ImportError:
        raise ImportError("weights of Keras, and HDF5, need the package h5py: pip install h5py") from None
    # Errors of h5py have many classes if a file is broken.
    with as_value_errors(f"{path} is not an HDF5 file, or broken", Exception), h5py.File(file, "r") as opened:
        left = unpacked_limit(size)
        names: list[bytes] = []
        h5py.h5o.visit(opened.id, names.append)  # the names as bytes, because some are not UTF-8
        for name in names:
            found = h5py.h5o.open(opened.id, name)
            if isinstance(found, h5py.h5d.DatasetID):
                tensor, stored, unpacked = _tensor(h5py.Dataset(found), name)
                size -= stored
                if size < 0:
                    raise ValueError("the datasets have more bytes than the file")
                left -= unpacked
                if left < 0 and unpacked:
                    tensor = StoredTensor.without(tensor.name, tensor.shape, tensor.dtype, TOO_PACKED)
                yield tensor


def _tensor(dataset: Any, path: bytes) -> tuple[StoredTensor, int, int]:
    """Return the tensor of a dataset, and the bytes that it takes in the file and in memory."""
    name = path.decode("utf-8", "surrogateescape").strip("/").replace("/", ".")
    try:
        dtype = dataset.dtype
    except (TypeError, ValueError) as error:  # a type that NumPy does not have
        return StoredTensor.without(name, (), "unknown", f"the dataset holds no numbers: {printable(str(error))}"), 0, 0
    shape, chunks, stored = tuple(dataset.shape or ()), dataset.chunks, dataset.id.get_storage_size()
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(k)[0] for k in range(properties.get_nfilters())]
    bytes_of_row = math.prod(shape[1:]) * dtype.itemsize
    reason = None
    if dataset.is_virtual or dataset.external:
        reason, stored = "the dataset is in other files, which are not read", 0
    elif dtype.kind not in "biufc" or dataset.shape is None:
        reason = "the dataset holds no numbers"
    elif math.prod(shape) * dtype.itemsize > MAX_RATIO * stored:
        reason = f"the dataset has {math.prod(shape)} numbers in {stored} bytes: most were never written"
    elif not FILTERS.keys() >= {*filters} or sum(each in PACKING for each in filters) > 1:
        reason = f"the dataset is packed by filters other than {', '.join(FILTERS.values())}, or by several filters"
    elif chunks and max(math.prod(chunks) * dtype.itemsize, min(chunks[0], shape[0]) * bytes_of_row) > LARGEST:
        reason = f"the dataset has chunks of {chunks}, too large to be read"
    if reason:
        return StoredTensor.without(name, shape, dtype.name, reason), stored, 0
    tensor = StoredTensor(name, shape, dtype.name, partial(_blocks, dataset, chunks[0] if chunks else 1))
    return tensor, stored, math.prod(shape) * dtype.itemsize


def _blocks(dataset: Any, height: int, rows: int) -> Iterator[NDArray[Any]]:
    """Yield the rows of whole chunks of `height` rows, so that h5py unpacks each chunk once."""
    if not dataset.shape:
        yield numbers(np.asarray(_read(dataset, ())).reshape(1))
        return
    band = -(-rows // height) * height
    for first in range(0, dataset.shape[0], band):
        whole = _read(dataset, slice(first, first + band))
        yield from (numbers(whole[start : start + rows]) for start in range(0, len(whole), rows))


def _read(dataset: Any, index: Any) -> Any:
    with as_value_errors("a dataset is broken", Exception):
        return dataset[index]

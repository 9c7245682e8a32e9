"""Opening a file by the reader that its first bytes select."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ..regular_file import open_regular
from . import hdf5_file, numpy_file, safetensors_file, torch_file
from .stored_tensor import StoredTensor

# The usual order of a weight's axes: the first in safetensors and in files of PyTorch, the second in all others.
OUTPUTS_FIRST, OUTPUTS_LAST = "OI...", "...IO"


def open_tensors(path: str | os.PathLike[str]) -> tuple[str, Iterator[StoredTensor]]:
    """Return the usual order of axes in a file, and its tensors. Read each tensor before you take the next.

    The file is a safetensors file, an index of several or a folder with one; a .npy or .npz; a checkpoint of PyTorch;
    a .keras; or HDF5. Its name does not matter. No code in the file runs. Raises OSError, ImportError for a missing
    package, and ValueError for a broken file or one of another format.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == ".json":
        return OUTPUTS_FIRST, safetensors_file.tensors(path)
    with open_regular(path) as file:
        magic = file.read(9)
    if magic.startswith(b"\x93NUMPY"):
        return OUTPUTS_LAST, numpy_file.array(path)
    if magic.startswith(b"\x89HDF\r\n\x1a\n"):
        return OUTPUTS_LAST, hdf5_file.tensors(path)
    if magic.startswith(b"PK"):
        return _archive(path)
    if magic.startswith(b"\x80"):  # a pickle: PyTorch's old format
        return OUTPUTS_FIRST, torch_file.tensors(path)
    if magic[8:9] in (b"{", b""):
        return OUTPUTS_FIRST, safetensors_file.tensors(path)
    raise ValueError(f"{path} must be a safetensors, .npy, .npz, .keras or HDF5 file, or a checkpoint of PyTorch")


def _archive(path: Path) -> tuple[str, Iterator[StoredTensor]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise ValueError(f"{path} is a broken archive: {error}") from None
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return OUTPUTS_FIRST, torch_file.tensors(path)
    if hdf5_file.MEMBER in names:
        return OUTPUTS_LAST, hdf5_file.keras_tensors(path)
    return OUTPUTS_LAST, numpy_file.arrays(path)

"""Opening: which kind of file it is, by its first bytes."""

import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from . import hdf5_file, numpy_file, safetensors_file, torch_file
from .stored_tensor import StoredTensor

# How the axes of weights lie in each kind of file, where nothing else says.
ORDER = {"safetensors": "OI...", "torch": "OI...", "numpy": "...IO", "hdf5": "...IO", "keras": "...IO"}


def open_tensors(path: str | os.PathLike[str]) -> tuple[str, Iterator[StoredTensor]]:
    """The kind of a file (a key of `ORDER`) and its tensors, each to be read before the next is asked for.

    The file is a safetensors, an index of several or a folder with one; a .npy or .npz; a checkpoint of PyTorch;
    a .keras; or HDF5. Its name does not matter. Nothing in it is executed. Raises OSError, ImportError for a package
    that is missing, and ValueError for a file of no such kind, or a broken one.
    """
    path = Path(path)
    if path.is_dir() or path.suffix == ".json":
        return "safetensors", safetensors_file.tensors(path)
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path} is not a file")
    with path.open("rb") as file:
        magic = file.read(9)
    if magic.startswith(b"\x93NUMPY"):
        return "numpy", numpy_file.array(path)
    if magic.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5", hdf5_file.tensors(path)
    if magic.startswith(b"PK"):
        kind, read = _archive(path)
        return kind, read(path)
    if magic.startswith(b"\x80"):  # a pickle, as PyTorch's old format is
        return "torch", torch_file.tensors(path)
    if magic[8:9] in (b"{", b""):
        return "safetensors", safetensors_file.tensors(path)
    raise ValueError(f"{path} is no safetensors, .npy, .npz, checkpoint of PyTorch, .keras or HDF5 file")


def _archive(path: Path) -> tuple[str, Callable[[Path], Iterator[StoredTensor]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise ValueError(f"{path} is a broken archive: {error}") from None
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return "torch", torch_file.tensors
    if hdf5_file.MEMBER in names:
        return "keras", hdf5_file.keras_tensors
    return "numpy", numpy_file.arrays

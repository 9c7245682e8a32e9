"""Reader of a checkpoint of PyTorch, loaded with `weights_only=True`: no code in the file runs."""

import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..printable import printable
from .stored_tensor import LARGEST, StoredTensor, UnmeasuredError

MAX_STRUCTURE = 100_000_000  # bytes of the pickle that names the tensors
MAX_OLD = 2**33  # bytes of a file of the old format, which PyTorch reads into memory


class RefusedError(ValueError):
    """A file that is not given to PyTorch."""


def tensors(path: Path) -> Iterator[StoredTensor]:
    """Yield the tensors, named by their places: "model.fc.weight" where dictionaries hold dictionaries."""
    try:
        import torch
    except ImportError:
        raise ImportError("a checkpoint of PyTorch needs the package torch: pip install torch") from None
    try:
        is_archive = zipfile.is_zipfile(path)
        _check(path, is_archive)
        # On the meta device PyTorch reads no numbers, and leaves the place of each storage in the file.
        loaded = torch.load(path, map_location="meta" if is_archive else "cpu", weights_only=True)
    except (MemoryError, OSError, RefusedError):
        raise
    except Exception as error:  # PyTorch and zipfile raise errors of many classes for broken files
        reason = printable((str(error).strip() or type(error).__name__).splitlines()[0])
        raise ValueError(
            f"{path} cannot be read without running its code, or is broken: {reason}. Save a state_dict"
        ) from None
    yield from named_tensors(loaded, stored=partial(_in_archive, path) if is_archive else in_memory)


def _check(path: Path, is_archive: bool) -> None:
    """Raise RefusedError for a file whose structure would take more memory than that of a checkpoint."""
    if not is_archive:
        if path.stat().st_size > MAX_OLD:
            raise RefusedError(f"{path} has PyTorch's old format and more than {MAX_OLD} bytes. Save the model again")
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = f"the member '{printable(member.filename)}'"
            if member.compress_type != zipfile.ZIP_STORED:
                raise RefusedError(f"{path} compresses {name}, which PyTorch does not do")
            if member.filename.endswith("data.pkl") and member.file_size > MAX_STRUCTURE:
                raise RefusedError(f"{path} has {name} of {member.file_size} bytes, more than {MAX_STRUCTURE}")
            if member.filename.endswith("/byteorder") and archive.read(member) != sys.byteorder.encode():
                raise RefusedError(
                    f"{path} has the byte order of another processor. Save the model on a processor of this kind"
                )


def named_tensors(
    holder: Any, name: str = "", stored: "Callable[[str, Any], StoredTensor] | None" = None
) -> Iterator[StoredTensor]:
    """Yield the tensors in dictionaries, lists and tuples, named by their places.

    A container that stands in several places, or holds itself, is read once, at its first place.
    """
    import torch

    waiting, seen = [(name, holder)], set()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, torch.Tensor):
            yield (stored or in_memory)(name, value.detach())
        elif isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            inside = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += reversed([(f"{name}.{key}".lstrip("."), each) for key, each in inside])


def _without(name: str, tensor: Any, reason: str) -> StoredTensor:
    return StoredTensor.without(name, tuple(tensor.shape), _dtype(tensor), reason)


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _unreadable(tensor: Any) -> str | None:
    """Return the reason that a tensor has no numbers to read; None if the numbers can be read."""
    if str(tensor.layout) != "torch.strided" or tensor.is_quantized:
        return "the tensor is sparse or quantized"
    if tensor.numel() * tensor.element_size() > max(tensor.untyped_storage().nbytes(), 1):
        return "the elements of the tensor share memory"
    return None


def in_memory(name: str, tensor: Any) -> StoredTensor:
    """Return the stored tensor of a PyTorch tensor."""
    reason = "the tensor has no memory" if tensor.is_meta else _unreadable(tensor)
    if reason is not None:
        return _without(name, tensor, reason)
    shape, dtype = tuple(tensor.shape), _dtype(tensor)
    memory = (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), shape, tensor.stride(), dtype)
    return StoredTensor(name, shape, dtype, partial(_blocks, tensor), memory if tensor.numel() else None)


def _blocks(tensor: Any, rows: int) -> Iterator[NDArray[Any]]:
    import torch

    whole = tensor.reshape(1) if tensor.ndim == 0 else tensor
    for start in range(0, len(whole), rows):
        piece = whole[start : start + rows].cpu()
        if piece.dtype not in (torch.float32, torch.float64, torch.float16) and piece.is_floating_point():
            piece = piece.float()  # NumPy has no bfloat16
        yield np.ascontiguousarray(piece.resolve_conj().resolve_neg().numpy())


def _in_archive(path: Path, name: str, tensor: Any) -> StoredTensor:
    """Return the stored tensor of a tensor on the meta device, whose storage knows its place in the file."""
    reason = _unreadable(tensor)
    place = None if reason else getattr(tensor.untyped_storage(), "_checkpoint_offset", None)
    if place is None:
        return _without(name, tensor, reason or "the tensor has no memory")
    shape, dtype, strides = tuple(tensor.shape), _dtype(tensor), tensor.stride()
    start = place + tensor.storage_offset() * tensor.element_size()
    memory = (start, shape, strides, dtype) if tensor.numel() else None
    if tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg():
        return StoredTensor.in_file(name, shape, dtype, path, start)._replace(memory=memory)
    extent = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if extent * tensor.element_size() > LARGEST:
        return _without(name, tensor, "the numbers are too far apart to be read at once")
    flat = StoredTensor.in_file(name, (extent,), dtype, path, start)
    return StoredTensor(name, shape, dtype, partial(_strided_blocks, flat, tensor), memory)


def _strided_blocks(flat: StoredTensor, tensor: Any, rows: int) -> Iterator[NDArray[Any]]:
    """Yield the rows of a tensor of any strides. All memory of the tensor is read at once."""
    (whole,) = flat.blocks(flat.size)
    if tensor.is_neg() or tensor.is_conj():
        raise UnmeasuredError("the tensor is a conjugate or negative view")
    strides = [stride * whole.itemsize for stride in tensor.stride()]
    view = np.lib.stride_tricks.as_strided(whole, tuple(tensor.shape), strides, writeable=False)
    yield from (np.ascontiguousarray(view[start : start + rows]) for start in range(0, len(view), rows))

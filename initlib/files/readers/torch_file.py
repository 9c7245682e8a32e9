"""Tensors of a checkpoint of PyTorch, read with `weights_only=True`: nothing in it is executed."""

import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .stored_tensor import StoredTensor

MOST_OF_STRUCTURE = 100_000_000  # bytes of what names the tensors
MOST_UNMAPPED = 2**33  # bytes of a file of the old format, which is read as a whole


def tensors(path: Path) -> Iterator[StoredTensor]:
    """The tensors, named by where they stand: "model.fc.weight" where dictionaries hold dictionaries."""
    try:
        import torch
    except ImportError:
        raise ImportError("a checkpoint of PyTorch needs the package torch: pip install torch") from None
    mapped = zipfile.is_zipfile(path)
    _check(path, mapped)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # PyTorch raises what it likes: pickle's errors, RuntimeError, KeyError, EOFError
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} cannot be read without running code from it, or is broken: {reason}") from None
    yield from named_tensors(loaded)


def _check(path: Path, mapped: bool) -> None:
    """Raise ValueError where what has to be read as a whole is more than a checkpoint's."""
    if not mapped:
        if path.stat().st_size > MOST_UNMAPPED:
            raise ValueError(f"{path} is of PyTorch's old format, and more than {MOST_UNMAPPED} bytes: save it anew")
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{path} has the compressed member {member.filename!r}, which PyTorch does not write")
            if member.filename.endswith("data.pkl") and member.file_size > MOST_OF_STRUCTURE:
                raise ValueError(f"{path} names its tensors in {member.file_size} bytes, more than {MOST_OF_STRUCTURE}")


def named_tensors(holder: Any, name: str = "") -> Iterator[StoredTensor]:
    """The tensors in dictionaries, lists and tuples, named by where they stand."""
    import torch

    waiting = [(name, holder)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, torch.Tensor):
            yield _tensor(name, value.detach())
        elif isinstance(value, (dict, list, tuple)):
            inside = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += reversed([(f"{name}.{key}".lstrip("."), each) for key, each in inside])


def _tensor(name: str, tensor: Any) -> StoredTensor:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if str(tensor.layout) != "torch.strided" or tensor.is_quantized or tensor.is_meta:
        return StoredTensor.without(name, tuple(tensor.shape), dtype, "it is sparse, quantized or without memory")
    storage = tensor.untyped_storage()
    if tensor.numel() * tensor.element_size() > max(storage.nbytes(), 1):
        return StoredTensor.without(name, tuple(tensor.shape), dtype, "it repeats its memory")
    memory = (storage.data_ptr(), tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), dtype)
    return StoredTensor(name, tuple(tensor.shape), dtype, partial(_blocks, tensor), memory if tensor.numel() else None)


def _blocks(tensor: Any, rows: int) -> Iterator[NDArray[Any]]:
    import torch

    whole = tensor.reshape(1) if tensor.ndim == 0 else tensor
    for start in range(0, len(whole), rows):
        piece = whole[start : start + rows].cpu()
        if piece.dtype not in (torch.float32, torch.float64, torch.float16) and piece.is_floating_point():
            piece = piece.float()  # NumPy has no bfloat16
        yield np.ascontiguousarray(piece.resolve_conj().resolve_neg().numpy())

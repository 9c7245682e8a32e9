"""Memory of tensors: its checks, the part that this rank holds, and its fill with the weights of a draw request."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.lib.array_utils import byte_bounds
from torch import Tensor
from torch.autograd.graph import increment_version

from initlib import Initializer
from initlib.dtypes import DTYPES as NAMES
from initlib.dtypes import numpy_dtype
from initlib.stream.boxes import Box
from initlib.stream.engine import DrawRequest
from initlib.stream.kernel import Memory, draws, fill, memory_of, overlaps_itself
from initlib.stream.numpy_engine import NUMPY

from .._private import is_dtensor, is_fake, is_lost, is_traced, local_tensor
from .devices import engine_of
from .partial import Held

DTYPES: dict[torch.dtype, str] = {getattr(torch, name): name for name in NAMES}


_ORDINARY = (torch.nn.Parameter, Tensor)


def is_weight(tensor: Tensor) -> bool:
    """Return whether this library, not PyTorch, fills tensors of this kind with constants."""
    return tensor.dtype in DTYPES or is_dtensor(tensor)


def is_ordinary(tensor: Tensor) -> bool:
    """Return whether a tensor is like most parameters, so that `check` accepts the tensor and its values can be read.

    An ordinary tensor is a `Parameter` or a `Tensor`, not of a subclass. It is dense, row-major and not on the meta
    device, and its dtype can be drawn.
    """
    return (
        type(tensor) in _ORDINARY
        and tensor.layout is torch.strided
        and tensor.dtype in DTYPES
        and tensor.is_contiguous()
        and not (tensor.is_nested or tensor.is_meta or tensor.is_neg() or tensor.is_conj() or tensor.is_inference())
    )


def check_reach(tensor: Tensor) -> None:
    """Raise ValueError if the tensor is a copy of a slice of a DTensor, so that writes to it are lost."""
    if is_lost(tensor):
        raise ValueError(
            f"tensor must share memory with its DTensor, got a copy of a slice, of shape {tuple(tensor.shape)}. Fill "
            "the full DTensor."
        )


def check(tensor: Tensor) -> None:
    """Raise TypeError, ValueError or RuntimeError unless the tensor's memory can hold weights."""
    if tensor.layout is not torch.strided or tensor.is_nested:
        layout = "a nested tensor" if tensor.is_nested else f"layout {tensor.layout}"
        raise TypeError(f"tensor must be dense (layout torch.strided), got {layout}")
    if tensor.dtype not in DTYPES:
        allowed = ", ".join(map(str, DTYPES))
        raise TypeError(f"tensor must be of a dtype among {allowed}, got {tensor.dtype}")
    if not tensor.is_contiguous() and overlaps_itself(tensor.shape, tensor.stride(), extent(tensor)):
        raise ValueError(
            f"tensor must not overlap itself, got shape {tuple(tensor.shape)} and strides {tensor.stride()}. Clone the "
            "tensor."
        )
    check_reach(tensor)
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        raise RuntimeError("tensor must not be an inference tensor outside of torch.inference_mode. Clone the tensor.")


def extent(tensor: Tensor) -> int:
    """Return the number of elements from the first to the last one in memory, both included."""
    if tensor.is_contiguous():
        return tensor.numel()
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))


def has_no_storage(tensor: Tensor) -> bool:
    """Return whether the tensor has no weights in memory: it is meta, fake or empty."""
    if tensor.is_meta or tensor.numel() == 0:
        return True
    if is_fake(tensor):
        if is_traced():
            raise RuntimeError(
                "tensor must have memory, got a tensor of a traced function. Fill the tensor before the function is "
                "traced"
            )
        return True
    if tensor.is_cuda and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "tensor must not be filled while torch.cuda.graph captures. Fill the tensor before the capture"
        )
    return False


def local_views(tensor: Tensor, held: Held | None = None) -> Iterable[tuple[Tensor, Box | None]]:
    """Return views of the memory on this rank, each with the box of the full weight that it holds (None: all of it)."""
    if is_dtensor(tensor):
        from .dtensor import shards

        return shards(tensor)
    return ((tensor, None),) if held is None else held.boxes(tensor)


def fill_memory(tensor: Tensor, initializer: Initializer, request: DrawRequest, *, observed: bool) -> None:
    """Fill memory of this process with the requested box of a weight.

    `observed` is the value of `is_observed()`. The tensor was checked, and is no DTensor.
    """
    memory = None if observed else kernel_memory(tensor)
    law = None if memory is None else initializer.request_law(request)
    if memory is not None and law is not None:
        fill(memory, law, request)
    elif observed or not is_plain(tensor):
        drawn = np.empty(request.out_shape, numpy_dtype(request.dtype))
        initializer.fill(drawn, request, NUMPY)
        with torch.no_grad():
            tensor.copy_(as_tensor(drawn))
        return
    elif tensor.is_cpu:
        initializer.fill(_array(tensor), request, NUMPY)
    else:
        with torch.no_grad():
            initializer.fill(tensor, request, engine_of(tensor.device))
    increment_version(tensor)


def check_readable(tensor: Tensor) -> None:
    """Raise TypeError for a tensor without weights to read: of the meta device, fake, or sparse."""
    if tensor.is_meta or is_fake(tensor) or tensor.layout is not torch.strided or tensor.is_nested:
        kind = "no memory" if tensor.is_meta or is_fake(tensor) else f"layout {tensor.layout}"
        raise TypeError(f"a tensor that is loaded must be dense and in memory, got a tensor with {kind}")


def kernel_memory(tensor: Tensor) -> Memory | None:
    """Return the memory of a tensor that the compiled kernel may fill, and None for other memory.

    No mode or transform must observe the tensor. Raises ValueError for a storage that is too small.
    """
    if not is_plain(tensor):
        return None
    if tensor.is_contiguous():
        return row_major_memory(tensor)
    span = check_storage(tensor, extent(tensor))
    if not tensor.is_cpu or not draws(DTYPES[tensor.dtype]):
        return None
    address = tensor.data_ptr()
    if address % tensor.itemsize == 0:
        strides = tuple(stride if size > 1 else 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        if not overlaps_itself(tensor.shape, strides, span):
            return address, strides, span
    return memory_of(_array(tensor))


def row_major_memory(tensor: Tensor) -> Memory | None:
    """Return the same as `kernel_memory`, for a tensor that is plain and row-major."""
    items = check_storage(tensor, tensor.numel())
    if not tensor.is_cpu or not draws(DTYPES[tensor.dtype]):
        return None
    address = tensor.data_ptr()
    return (address, None, items) if address % tensor.itemsize == 0 else memory_of(_array(tensor))


def read_array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return the values of a tensor on any device; the array may share its memory."""
    tensor = tensor.detach()
    if not is_plain(tensor):
        with torch.no_grad():
            tensor = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device).copy_(tensor)
    check_storage(tensor, extent(tensor))
    return _array(tensor.cpu())


def addresses(array: Any) -> range:
    """Return the addresses of the memory of a tensor or of a NumPy array; none for other objects and without memory."""
    if isinstance(array, np.ndarray):
        return range(*byte_bounds(array)) if array.size else range(0)
    if not isinstance(array, Tensor) or array.is_meta or is_fake(array) or array.layout is not torch.strided:
        return range(0)
    storage = local_tensor(array).untyped_storage()
    return range(storage.data_ptr(), storage.data_ptr() + storage.nbytes())


def is_plain(tensor: Tensor) -> bool:
    """Return whether the memory holds the tensor's values as they are, and no subclass must see a write to it."""
    return type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__ and not tensor.is_neg() and not tensor.is_conj()


def has_full_storage(tensor: Tensor, elements: int) -> bool:
    """Return whether the storage of a tensor holds its extent, `elements`; `resize_` frees or shrinks a storage."""
    return tensor.untyped_storage().nbytes() >= (tensor.storage_offset() + elements) * tensor.itemsize


def check_storage(tensor: Tensor, elements: int) -> int:
    """Return `elements`, the extent of the tensor. Raise ValueError if its storage is smaller."""
    if not has_full_storage(tensor, elements):
        needed = (tensor.storage_offset() + elements) * tensor.itemsize
        raise ValueError(
            f"tensor of shape {tuple(tensor.shape)} must have a storage of {needed} bytes, got "
            f"{tensor.untyped_storage().nbytes()}: its storage was freed or shrunk"
        )
    return elements


class _Memory:
    """Memory of a tensor, described by the protocol that NumPy reads.

    After `Tensor.numpy` PyTorch would never resize the memory again, which is how FSDP frees it.
    """

    __slots__ = ("__array_interface__", "tensor")

    def __init__(self, tensor: Tensor, typestr: str) -> None:
        self.tensor = tensor  # keeps the memory alive
        strides = None
        if not tensor.is_contiguous():
            strides = tuple(stride * tensor.itemsize for stride in tensor.stride())
        data = tensor.data_ptr(), False
        self.__array_interface__ = {
            "version": 3,
            "shape": tuple(tensor.shape),
            "typestr": typestr,
            "data": data,
            "strides": strides,
        }


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return the tensor's own memory as an array."""
    typestr, dtype = _types(tensor.dtype)
    array = np.asarray(_Memory(tensor, typestr))
    return array if dtype is None else array.view(dtype)


@cache
def _types(dtype: torch.dtype) -> tuple[str, np.dtype[Any] | None]:
    """Return the protocol's word for a dtype; for a dtype of an extension, the word for its bits, and the dtype."""
    array_dtype = numpy_dtype(DTYPES[dtype])
    return (array_dtype.str, None) if array_dtype.isbuiltin == 1 else (f"=u{array_dtype.itemsize}", array_dtype)


def as_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """Return a tensor of the same memory, which no transform wraps."""
    if array.dtype.isbuiltin == 1:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(f"u{array.itemsize}")).view(getattr(torch, array.dtype.name))

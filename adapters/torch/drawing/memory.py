"""Memory: the weights of an initializer, put where a tensor keeps them, on any device and any shard."""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from initlib import Initializer
from initlib.dtypes import DTYPES as NAMES
from initlib.dtypes import numpy_dtype
from initlib.stream.engine import DrawRequest
from initlib.stream.numpy_engine import NUMPY

from .._private import is_dtensor, is_fake, is_lost, is_traced
from .devices import engine_of
from .partial import Held

DTYPES: dict[torch.dtype, str] = {getattr(torch, name): name for name in NAMES}


def is_weight(tensor: Tensor) -> bool:
    """Whether it is ours to fill where nothing is drawn: PyTorch fills other dtypes itself, on one device."""
    return tensor.dtype in DTYPES or is_dtensor(tensor)


def check_reach(tensor: Tensor) -> None:
    """Raise ValueError where nothing that is written to the tensor reaches the one that it is a part of."""
    if is_lost(tensor):
        raise ValueError(
            f"tensor of shape {tuple(tensor.shape)} is a copy of a part of a DTensor, and what is written to it is "
            f"lost; fill the whole DTensor"
        )


def check(tensor: Tensor) -> None:
    """Raise TypeError or ValueError unless the tensor's memory can hold weights."""
    if tensor.layout is not torch.strided or tensor.is_nested:
        kind = "a nested tensor" if tensor.is_nested else f"layout {tensor.layout}"
        raise TypeError(f"tensor must be dense (layout torch.strided), got {kind}")
    if tensor.dtype not in DTYPES:
        allowed = ", ".join(map(str, DTYPES))
        raise TypeError(f"tensor must be of a dtype among {allowed}, got {tensor.dtype}")
    if not tensor.is_contiguous():
        span = 1
        for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
            if size > 1 and stride < span:
                raise ValueError(
                    f"tensor of shape {tuple(tensor.shape)} and strides {tensor.stride()} overlaps itself; clone it"
                )
            span += stride * (size - 1)
    check_reach(tensor)
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        raise RuntimeError("tensor was made under torch.inference_mode and can be filled only there; clone it first")


def has_no_storage(tensor: Tensor) -> bool:
    """Whether the tensor has no weights in memory: it is meta, fake or empty."""
    if tensor.is_meta or tensor.numel() == 0:
        return True
    if is_fake(tensor):
        if is_traced():
            raise RuntimeError("initlib draws outside of the graph: fill the tensor before the function is traced")
        return True
    if tensor.is_cuda and torch.cuda.is_current_stream_capturing():
        raise RuntimeError("initlib draws outside of the graph: fill the tensor before torch.cuda.graph captures")
    return False


def write(
    tensor: Tensor, initializer: Initializer, weight: DrawRequest, part: Held | None = None, *, observed: bool
) -> None:
    """Fill a tensor that has been checked, the whole of a weight or a part."""
    if is_dtensor(tensor):
        from .dtensor import shards

        for local, box in shards(tensor):
            place(local, initializer, weight._replace(box=box), observed=observed)
        _increment_version(tensor)
    elif part is None:
        place(tensor, initializer, weight, observed=observed)
    else:
        for view, box in part.boxes(tensor):
            place(view, initializer, weight._replace(box=box), observed=observed)


def _increment_version(tensor: Tensor) -> None:
    """Tell autograd of the change, as PyTorch's own functions do."""
    if not tensor.is_inference():
        torch.autograd.graph.increment_version(tensor)


def place(tensor: Tensor, initializer: Initializer, weight: DrawRequest, *, observed: bool) -> None:
    """Fill a tensor that is memory of this process with a box of a weight; `observed` is what `is_observed` says."""
    plain = not observed and _is_plain(tensor)
    if plain and tensor.is_cpu:
        initializer.fill(_array(tensor), weight, NUMPY)
        _increment_version(tensor)
    elif plain:
        with torch.no_grad():
            initializer.fill(tensor, weight, engine_of(tensor.device))
        _increment_version(tensor)
    else:
        drawn = np.empty(weight.out_shape, numpy_dtype(weight.dtype))
        initializer.fill(drawn, weight, NUMPY)
        with torch.no_grad():
            tensor.copy_(_tensor(drawn))


def _is_plain(tensor: Tensor) -> bool:
    """Whether the tensor is just its memory: no subclass that must see what is done, nor to be negated when read."""
    return type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__ and not tensor.is_neg() and not tensor.is_conj()


class _Memory:
    """A tensor's memory, told by the protocol that NumPy reads.

    After `Tensor.numpy` PyTorch would never resize the memory again, which is how FSDP frees it.
    """

    __slots__ = ("__array_interface__", "tensor")

    def __init__(self, tensor: Tensor, typestr: str) -> None:
        self.tensor = tensor  # which keeps it
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
    """The tensor's own memory, as NumPy sees it."""
    if not tensor.data_ptr():
        raise ValueError(f"tensor of shape {tuple(tensor.shape)} has no memory: its storage was freed")
    typestr, dtype = _types(tensor.dtype)
    array = np.asarray(_Memory(tensor, typestr))
    return array if dtype is None else array.view(dtype)


@cache
def _types(dtype: torch.dtype) -> tuple[str, np.dtype[Any] | None]:
    """The protocol's word for a dtype; for one that is an extension's, that of its bits, and the dtype."""
    found = numpy_dtype(DTYPES[dtype])
    return (found.str, None) if found.isbuiltin == 1 else (f"=u{found.itemsize}", found)


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """The same memory, as PyTorch sees it: a tensor that no transform wraps."""
    if array.dtype.isbuiltin == 1:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(f"u{array.itemsize}")).view(getattr(torch, array.dtype.name))

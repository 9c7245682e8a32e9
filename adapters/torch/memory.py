"""Memory: the weights of an initializer, put where a tensor keeps them, on any device and any shard."""

import itertools
import math
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from initlib.axes import numbering
from initlib.draws.stream import COLUMNS, Law, int32, locate, weights
from initlib.dtypes import numpy_dtype
from initlib.key import Key
from initlib.schemes.initializer import Independent, Initializer

__all__ = ["Box", "check", "draw_on_device", "is_weight", "seen_by_modes", "untouchable", "write"]

Box = tuple[range, ...]  # the indices that are held along each axis

DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16", torch.float64: "float64"}
CHUNK = 2**20  # weights that are drawn at once on a device: about 60 MiB on the way


def is_weight(tensor: Tensor) -> bool:
    """Whether it is ours to fill where nothing is drawn: PyTorch fills other dtypes itself, on one device."""
    return tensor.dtype in DTYPES or _is_sharded(tensor)


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
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        raise RuntimeError("tensor was made under torch.inference_mode and can be filled only there; clone it first")


def _is_sharded(tensor: Any) -> bool:
    """Whether it is a DTensor; nobody has one before that module is loaded."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def untouchable(tensor: Tensor) -> bool:
    """Whether the tensor has no weights in memory: it is meta, fake or empty."""
    if tensor.is_meta or tensor.numel() == 0:
        return True
    fakes = sys.modules.get("torch._subclasses.fake_tensor")
    if fakes is None or not isinstance(tensor, fakes.FakeTensor):
        return False
    proxies = sys.modules.get("torch.fx.experimental.proxy_tensor")
    if proxies is not None and proxies.get_proxy_mode() is not None:
        raise RuntimeError("initlib draws outside of the graph: fill the tensor before the function is traced")
    return True


def seen_by_modes() -> bool:
    """Whether dispatch modes, which trace or fake, follow what is done to tensors."""
    before = torch._ops._len_torch_dispatch_stack_pre_dispatch()  # type: ignore[no-untyped-call]
    return bool(torch._C._len_torch_dispatch_stack() or before)


def write(tensor: Tensor, initializer: Initializer, axes: str | None, key: Key) -> None:
    """Fill a tensor that has been checked."""
    shape = tuple(tensor.shape)
    if _is_sharded(tensor):
        from .shards import shards

        for local, box in shards(tensor):
            _place(local, initializer, shape, axes, key, box)
        _increment_version(tensor)
    else:
        _place(tensor, initializer, shape, axes, key, None)


def _increment_version(tensor: Tensor) -> None:
    """Tell autograd of the change, as PyTorch's own functions do."""
    if not tensor.is_inference():
        torch.autograd.graph.increment_version(tensor)


def _place(
    tensor: Tensor, initializer: Initializer, shape: tuple[int, ...], axes: str | None, key: Key, box: Box | None
) -> None:
    """Fill memory with a box of the weight (None: all of it)."""
    dtype, plain = DTYPES[tensor.dtype], _is_plain(tensor)
    index = None if box is None else tuple(slice(part.start, part.stop, part.step) for part in box)
    if plain and tensor.is_cpu:
        initializer(shape, dtype, axes=axes, seed=key, index=index, out=_array(tensor))
        _increment_version(tensor)
    elif plain and isinstance(initializer, Independent):
        draw_on_device(tensor, initializer.law(shape, axes, dtype), key, shape, axes, box)
    else:
        with torch.no_grad():
            tensor.copy_(_tensor(initializer(shape, dtype, axes=axes, seed=key, index=index)))


def _is_plain(tensor: Tensor) -> bool:
    """Whether the tensor is just its memory: no subclass, no transform of it and no mode that must see what is done."""
    return (
        type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__
        and not tensor.is_neg()
        and not seen_by_modes()
        and torch._C._functorch.peek_interpreter_stack() is None
    )


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """The tensor's own memory, as NumPy sees it."""
    if not tensor.data_ptr():
        raise ValueError(f"tensor of shape {tuple(tensor.shape)} has no memory: its storage was freed")
    tensor = tensor.detach()
    if tensor.dtype is not torch.bfloat16:
        return tensor.numpy()
    return tensor.view(torch.uint16).numpy().view(numpy_dtype("bfloat16"))


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """The same memory, as PyTorch sees it: a tensor that no transform wraps."""
    if array.dtype.name != "bfloat16":
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)


class TorchOps:
    """`Ops` of the stream for PyTorch, on one device."""

    def __init__(self, device: torch.device) -> None:
        self.columns = torch.from_numpy(COLUMNS).to(device)

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        kept: torch.dtype = getattr(torch, dtype)
        return x.to(kept)

    def bits(self, x: Tensor) -> Tensor:
        return x.view(torch.int32)

    def shift_right(self, x: Tensor, count: int) -> Tensor:
        return (x >> count) & ((1 << (32 - count)) - 1)

    def take(self, column: int, rows: Tensor) -> Tensor:
        return self.columns[column][rows.long()]


@lru_cache(maxsize=16)
def _ops(device: torch.device) -> TorchOps:
    return TorchOps(device)


def _chunks(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Boxes of at most CHUNK weights (one axis cut, those inside it whole) that cover a shape."""
    inner = len(shape)
    while inner > 0 and math.prod(shape[inner - 1 :]) <= CHUNK:
        inner -= 1
    whole = tuple(slice(0, size) for size in shape[inner:])
    if inner == 0:
        yield whole
        return
    step = max(1, CHUNK // math.prod(shape[inner:]))
    for outer in itertools.product(*map(range, shape[: inner - 1])):
        for start in range(0, shape[inner - 1], step):
            cut = slice(start, min(start + step, shape[inner - 1]))
            yield (*(slice(at, at + 1) for at in outer), cut, *whole)


def draw_on_device(
    tensor: Tensor, law: Law, key: Key, shape: tuple[int, ...], axes: str | None, box: Box | None = None
) -> None:
    """Fill by the reference stream, run on the tensor's own device, a bounded number of weights at a time."""
    device, ops = tensor.device, _ops(tensor.device)
    held = tuple(map(range, shape)) if box is None else box
    words = [torch.tensor(int32(word), dtype=torch.int32, device=device) for word in key.words]
    zero = torch.zeros((), dtype=torch.int32, device=device)
    with torch.no_grad():
        for chunk in _chunks(tuple(tensor.shape)):
            terms = []
            for axis, (part, cut, factors) in enumerate(zip(held, chunk, numbering(shape, axes), strict=True)):
                taken = part[cut]
                index = torch.arange(taken.start, taken.stop, taken.step, device=device)
                index = index.view([-1 if axis == other else 1 for other in range(len(shape))])
                terms += [((index // f.step % f.size).to(torch.int32), f.stride) for f in factors]
            high, low = locate(terms, math.prod(shape), zero, ops)
            tensor[chunk].copy_(weights(law, (words[0], words[1]), high, low, ops))

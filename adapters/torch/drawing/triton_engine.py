"""Triton's engine: one launch of a fused kernel on a GPU, where the reference needs more than a hundred."""

import struct
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from initlib.key import Key
from initlib.stream.engine import DrawRequest
from initlib.stream.launches import Launch, launches, reciprocal
from initlib.stream.law import WHOLE_LINE, Law
from initlib.stream.loops import Loop
from initlib.stream.reference import int32

from .engine import TorchEngine


class TritonEngine(TorchEngine):
    """An `Engine` of PyTorch on a device that Triton supports."""

    def draw(self, law: Law, weight: DrawRequest) -> Tensor:
        out = torch.empty(weight.out_shape, dtype=getattr(torch, law.dtype), device=self.device)
        self.fill(out, law, weight)
        return out

    def fill(self, out: Tensor, law: Law, weight: DrawRequest) -> None:
        kernel = _kernel()
        if law.dtype not in kernel.DTYPES:
            super().fill(out, law, weight)
            return
        out = out.detach()
        with _current(self.device):
            for launch in launches(weight.shape, weight.axes, weight.box, out.stride(), kernel.DEPTH):
                first = out.as_strided((1,), (1,), out.storage_offset() + launch.offset)
                self._launch(kernel, first, law, weight.key, launch)

    def _launch(self, kernel: ModuleType, first: Tensor, law: Law, key: Key, launch: Launch) -> None:
        """Run a launch, whose first weight in the order of its loops lies at `first`."""
        lo, width = law.window or (0, 0)
        kernel.draw[(-(-launch.weights // kernel.BLOCK),)](
            first,
            self.columns,
            *map(int32, key.words),
            *_numbers(launch, kernel.DEPTH),
            int32(lo),
            int32(width),
            law.low,
            law.high,
            _bits(law.scale, law.dtype),
            _bits(law.mean, law.dtype),
            loops=len(launch.loops),
            dense=launch.dense,
            law="uniform" if law.window is None else "normal" if law.window == WHOLE_LINE else "truncated",
            with_mean=law.mean != 0,
            block=kernel.BLOCK,
            **kernel.OPTIONS,
        )


@lru_cache(maxsize=256)
def _numbers(launch: Launch, depth: int) -> tuple[int, ...]:
    """Return the kernel's arguments of a launch, from its position on."""
    inner = (*reversed(launch.loops), *(Loop(2, 0, 0),) * (depth - len(launch.loops)))
    numbers = [launch.position >> 32, launch.position, launch.weights]
    numbers += [loop.position for loop in inner] + [loop.memory for loop in inner]
    for loop in inner[:-1]:
        numbers += [loop.size, *reciprocal(loop.size)]
    return tuple(map(int32, numbers))


def _bits(x: float, dtype: str) -> int:
    """Return the bits of a number, in float64 for float64 weights and in float32 for others, as an int."""
    number, integer = ("<d", "<q") if dtype == "float64" else ("<f", "<i")
    return int(struct.unpack(integer, struct.pack(number, x))[0])


def _kernel() -> ModuleType:
    """Return the kernel's module, imported at the first draw because it imports Triton."""
    from . import triton_kernel

    return triton_kernel


def _current(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which Triton launches on the device; on a CPU its interpreter runs."""
    return nullcontext() if device.type == "cpu" else torch.cuda.device(device)

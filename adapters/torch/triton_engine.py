"""Triton: on a GPU, one launch of a fused kernel draws what the reference draws in more than a hundred."""

import importlib.util
import itertools
import math
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from initlib import truncated_normal
from initlib.axes import numbering
from initlib.draws.runs import Loop, Part, _coalesce, _split
from initlib.draws.stream import COLUMNS, WHOLE_LINE, Law, int32

__all__ = ["describe", "draws_on", "fill"]

DEVICES = ("cuda", "xpu")  # that Triton may serve; PyTorch calls AMD's "cuda" too
MOST = 2**30  # weights of a launch


class Nest(NamedTuple):
    """What a launch fills: loops, outermost first, from a position and a place in memory on.

    No loop lowers the position. Positions lie less than 2**32 apart, places less than 2**31.
    """

    position: int
    offset: int
    loops: tuple[Loop, ...]

    @property
    def weights(self) -> int:
        """How many there are."""
        return math.prod(loop.size for loop in self.loops)

    @property
    def dense(self) -> bool:
        """Whether they follow each other in memory."""
        return all(
            loop.memory == math.prod(inner.size for inner in self.loops[at + 1 :]) for at, loop in enumerate(self.loops)
        )


@lru_cache(maxsize=256)
def nests(
    shape: tuple[int, ...], axes: str | None, box: tuple[Part, ...] | None, memory: tuple[int, ...], depth: int
) -> tuple[Nest, ...]:
    """The nests, of so many loops at most, that fill a box of a weight into memory of these strides, in items."""
    if box is None:
        box = tuple(Part(0, 1, size, False) for size in shape)
    strides = iter(memory)
    axis_pieces = [
        _split(part, factors, 0 if part.drop else next(strides))
        for part, factors in zip(box, numbering(shape, axes), strict=True)
    ]
    return tuple(
        nest
        for pieces in itertools.product(*axis_pieces)
        for nest in _cut(
            sum(position for position, _, _ in pieces),
            sum(offset for _, offset, _ in pieces),
            [loop for _, _, loops in pieces for loop in loops],
            depth,
        )
    )


def _cut(position: int, offset: int, loops: list[Loop], depth: int) -> Iterator[Nest]:
    """The nest of these loops, or, for as long as it is too much for a launch, those of a loop's two halves."""
    rising = []
    for loop in loops:
        if loop.position < 0:  # taken from its other end
            position += (loop.size - 1) * loop.position
            offset += (loop.size - 1) * loop.memory
            loop = Loop(loop.size, -loop.position, -loop.memory)
        rising.append(loop)
    loops = _coalesce(rising)
    nest = Nest(position, offset, tuple(loops))
    positions = [(loop.size - 1) * loop.position for loop in loops]
    places = [(loop.size - 1) * abs(loop.memory) for loop in loops]
    sizes = [loop.size for loop in loops]
    if nest.weights > MOST:
        at = sizes.index(max(sizes))
    elif sum(positions) >= 2**32:
        at = positions.index(max(positions))
    elif sum(places) >= 2**31:
        at = places.index(max(places))
    elif len(loops) > depth:
        at = sizes.index(min(sizes))
    else:
        yield nest
        return
    whole, half = loops[at], loops[at].size // 2
    for start, size in ((0, half), (half, whole.size - half)):
        loops[at] = whole._replace(size=size)
        yield from _cut(position + start * whole.position, offset + start * whole.memory, loops.copy(), depth)


def reciprocal(size: int) -> tuple[int, int]:
    """The multiplier and the shift for which (k * multiplier >> 32) >> shift is k // size, at 0 <= k < 2**31.

    Granlund, Montgomery 1994, Division by invariant integers using multiplication.
    """
    shift = (size - 1).bit_length() - 1
    return -(-(2 ** (32 + shift)) // size), shift


def fill(
    tensor: Tensor,
    law: Law,
    key: int,
    shape: tuple[int, ...],
    axes: str | None = None,
    box: tuple[Part, ...] | None = None,
) -> None:
    """Fill a tensor, of the law's dtype and the box's shape, with that box of the weight (None: all of it)."""
    if tensor.numel() == 0:
        return
    kernel = _kernel()
    tensor = tensor.detach()
    with _current(tensor.device):
        for nest in nests(shape, axes, box, tensor.stride(), kernel.DEPTH):
            _launch(kernel, tensor.as_strided((1,), (1,), tensor.storage_offset() + nest.offset), law, key, nest)


def _launch(kernel: ModuleType, out: Tensor, law: Law, key: int, nest: Nest) -> None:
    """Fill a nest whose first weight lies at `out`."""
    lo, width = law.window or (0, 0)
    kernel.draw[(-(-nest.weights // kernel.BLOCK),)](
        out,
        _columns(out.device),
        int32(key >> 32),
        int32(key),
        *_numbers(nest, kernel.DEPTH),
        int32(lo),
        int32(width),
        law.low,
        law.high,
        _bits(law.scale, law.dtype),
        _bits(law.mean, law.dtype),
        loops=len(nest.loops),
        dense=nest.dense,
        law="uniform" if law.window is None else "normal" if law.window == WHOLE_LINE else "truncated",
        with_mean=law.mean != 0,
        block=kernel.BLOCK,
        **kernel.OPTIONS,
    )


@lru_cache(maxsize=256)
def _numbers(nest: Nest, depth: int) -> tuple[int, ...]:
    """A nest as the kernel takes it, from its position on."""
    inner = (*reversed(nest.loops), *(Loop(2, 0, 0),) * (depth - len(nest.loops)))
    numbers = [nest.position >> 32, nest.position, nest.weights]
    numbers += [loop.position for loop in inner] + [loop.memory for loop in inner]
    for loop in inner[:-1]:
        numbers += [loop.size, *reciprocal(loop.size)]
    return tuple(map(int32, numbers))


def _bits(x: float, dtype: str) -> int:
    """The bits of a number as weights of that dtype take it, float64 or float32, read as an int."""
    number, integer = ("<d", "<q") if dtype == "float64" else ("<f", "<i")
    return int(struct.unpack(integer, struct.pack(number, x))[0])


def _kernel() -> ModuleType:
    """The kernel's module, imported when it first draws: it imports Triton."""
    from . import triton_kernel

    return triton_kernel


@cache
def _columns(device: torch.device) -> Tensor:
    """The table of the normal quantile, in the device's memory."""
    return torch.from_numpy(COLUMNS).to(device)


def _current(device: torch.device) -> AbstractContextManager[Any]:
    """Make a device the one that Triton launches on."""
    if device.type == "cpu":  # Triton's interpreter
        return nullcontext()
    on: AbstractContextManager[Any] = torch.get_device_module(device).device(device)
    return on


def draws_on(device: torch.device) -> bool:
    """Whether the kernel draws on a device: Triton is there, runs it, and the bits are right."""
    return _obstacle(device) is None


def describe(device: torch.device | str) -> str:
    """What draws on a device: "Triton kernel", or "reference" and, where there could be the kernel, why.

    >>> describe("mps")
    'reference'
    """
    obstacle = _obstacle(torch.device(device))
    return "Triton kernel" if obstacle is None else f"reference ({obstacle})" if obstacle else "reference"


@cache
def _obstacle(device: torch.device) -> str | None:
    """Why the kernel does not draw on a device; None if it does, and nothing where Triton is not expected."""
    wish = os.environ.get("INITLIB_TRITON", "")
    if wish not in ("", "0"):
        raise ValueError(f"INITLIB_TRITON={wish!r} is not available here; allowed is 0, for the reference")
    if device.type not in DEVICES:
        return ""
    if wish == "0":
        return "INITLIB_TRITON=0"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    try:
        obstacle = _trial(device)
    except Exception as error:  # no compiler for Triton's launcher, a card that it does not know …
        obstacle = f"Triton failed: {type(error).__name__}: {error}".splitlines()[0]
    if obstacle is not None:
        warnings.warn(
            f"weights on {device} are drawn by the reference, in many launches: {obstacle}; "
            f"INITLIB_TRITON=0 asks for that",
            RuntimeWarning,
            stacklevel=2,
        )
    return obstacle


def _trial(device: torch.device) -> str | None:
    """Draw a few weights, once in a process: what is wrong with them."""
    shape = (2048,)
    drawn = torch.empty(shape, device=device)
    initializer = truncated_normal()
    fill(drawn, initializer.law(shape, None, "float32"), 0, shape)
    right = drawn.cpu().numpy().tobytes() == initializer(shape, seed=0).tobytes()
    return None if right else "Triton's kernel gave other bits than the core"

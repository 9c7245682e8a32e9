"""Draw: fill memory with the weights at the positions of a box, by the kernel or by the reference."""

import _thread
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from .. import config
from . import stream
from .runs import Part, Runs, runs
from .stream import Law

__all__ = ["bits", "block", "fill", "in_order", "item_strides"]

DTYPES = ("uint32", "float32", "float64", "float16", "bfloat16")  # in the kernel's order
WORDS = Law(None, 0, 0, 0.0, 0.0, "uint32")  # the bare words
LEAST = 2**18  # weights that a thread takes at once: what another thread is worth its start for
MOST = 2**21  # and between two looks at Ctrl-C: a few huge pages, so that threads seldom meet in one and both clear it

Work = Callable[[int, int], None]  # draws the blocks from the first to before the last

_NUMPY = stream.NumPyOps()
_C0, _C1, _C2, _C3 = stream.COLUMNS
_TABLE = np.stack([_C0, _C1, _C2 << 17 | _C3 & 0xFFFF])  # the kernel's: c2 and c3 fit 16 bits each


def fill(
    out: NDArray[Any],
    law: Law,
    key: int,
    shape: tuple[int, ...],
    axes: str | None = None,
    box: tuple[Part, ...] | None = None,
) -> None:
    """Fill `out`, of the law's dtype and the box's shape, with that box of the weight (None: all of it)."""
    if out.size == 0:
        return
    if in_order(out):
        memory, flat = None, out.reshape(-1)
    else:
        memory, span = item_strides(out)
        lowest = out[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in memory)]
        flat = as_strided(lowest, (span,), (out.itemsize,))
    for part in runs(shape, axes, box, memory):
        if config.kernel is None:  # whose steps are too short for threads: they would wait for each other's
            _by_reference(flat, law, key, part)(0, part.blocks)
        else:
            _share(_by_kernel(flat, law, key, part), part)


def in_order(out: NDArray[Any]) -> bool:
    """Whether the items of an array follow each other in memory."""
    return out.flags.c_contiguous and out.flags.aligned


def item_strides(out: NDArray[Any]) -> tuple[tuple[int, ...], int]:
    """The strides of an array in items, and how many items it spans; an error where it cannot be filled."""
    steps = [stride if size > 1 else 0 for size, stride in zip(out.shape, out.strides, strict=True)]
    if not out.flags.aligned or any(step % out.itemsize for step in steps):
        raise ValueError(f"out of strides {out.strides} is not aligned to its items of {out.itemsize} bytes")
    memory = tuple(step // out.itemsize for step in steps)
    span = 1
    for stride, size in sorted((abs(stride), size) for stride, size in zip(memory, out.shape, strict=True)):
        if size > 1 and stride < span:
            raise ValueError(f"out of shape {out.shape} and strides {out.strides} overlaps itself")
        span += stride * (size - 1)
    return memory, span


def _by_kernel(flat: NDArray[Any], law: Law, key: int, part: Runs) -> Work:
    kernel = config.kernel
    assert kernel is not None
    dtype = DTYPES.index(law.dtype)
    lo, width = law.window or (0, 0)
    numbers = (law.window is not None, lo, width, law.low, law.high, law.scale, law.mean)

    def work(first: int, last: int) -> None:
        kernel.fill(config.path, flat, dtype, key, numbers, _TABLE, part, first, last)

    return work


def _by_reference(flat: NDArray[Any], law: Law, key: int, part: Runs) -> Work:
    words = _words(key)
    per_row = -(-part.row // part.block)
    pattern = np.arange(min(part.block, part.row), dtype=np.uint64) if part.pattern is None else part.pattern

    def work(first: int, last: int) -> None:
        for at in range(first, last):
            row, number = divmod(at, per_row)
            count = min(part.block, part.row - number * part.block)
            base = (int(part.bases[row]) + number * part.step) % 2**64
            position = pattern[:count] + np.array([base], np.uint64)
            high, low = (position >> 32).astype(np.uint32).view(np.int32), position.astype(np.uint32).view(np.int32)
            if law.dtype == "uint32":
                values = stream.words(words, high, low, _NUMPY).view(np.uint32)
            else:
                with np.errstate(over="ignore"):  # a scale too large for the dtype gives infinity, as in the kernel
                    values = stream.weights(law, words, high, low, _NUMPY)
            start = int(part.offsets[row]) + number * part.stride
            if part.scatter is None:
                flat[start : start + count] = values
            else:
                flat[start + part.scatter[:count]] = values

    return work


def _words(number: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The high and low words of a 64-bit number, for `stream`."""
    return (
        np.array([stream.int32(number >> 32)], np.int32),
        np.array([stream.int32(number)], np.int32),
    )


def _share(work: Work, part: Runs) -> None:
    """Do `work(first, last)` for all blocks, on this thread and, if there is enough, on others."""
    total = part.row * len(part.bases)
    if total < 2 * LEAST:
        work(0, part.blocks)
    else:
        weights = min(part.block, part.row)  # in a block
        threads = min(config.get_num_threads(), total // LEAST)
        _in_threads(work, part.blocks, max(1, LEAST // weights), max(1, MOST // weights), threads)


def _in_threads(work: Work, blocks: int, least: int, most: int, threads: int) -> None:
    """Do `work(first, last)` for all blocks, on this thread and on others; stop at an exception.

    Nobody waits for a thread to start: one that comes late finds less to do. The spans shrink towards the end, so that
    all end together.
    """
    spans = iter(list(_spans(blocks, least, most, threads)))  # which two threads may ask at once
    errors: list[BaseException] = []

    def run(busy: _thread.LockType) -> None:
        try:
            while True:
                with busy:
                    span = next(spans, None)
                    if span is None or errors:
                        break
                    work(*span)  # noqa: F821 - it is deleted when nothing is left to do
        except BaseException as error:
            errors.append(error)

    def wait() -> None:
        for busy in helpers:
            with busy:
                pass

    helpers = [_thread.allocate_lock() for _ in range(threads - 1)]
    try:
        for busy in helpers:
            try:
                _thread.start_new_thread(run, (busy,))
            except RuntimeError:  # there can be no more threads: those that there are do it
                break
        run(_thread.allocate_lock())
        wait()
    except BaseException as error:  # Ctrl-C outside the work
        errors.append(error)
        wait()
    del work  # a thread that still has to end must not hold the caller's memory
    if errors:
        raise errors[0]


def _spans(blocks: int, least: int, most: int, threads: int) -> Iterator[tuple[int, int]]:
    first = 0
    while first < blocks:
        last = min(first + max(least, min(most, (blocks - first) // (2 * threads))), blocks)
        yield first, last
        first = last


def bits(shape: tuple[int, ...], key: int) -> NDArray[np.uint32]:
    """The words of the positions of a shape, row-major."""
    out = np.empty(shape, np.uint32)
    fill(out, WORDS, key, shape)
    return out


def block(key: int, counter: int) -> int:
    """Threefry-2x32 of a 64-bit counter under a 64-bit key, as 64 bits."""
    if config.kernel is not None:
        return int(config.kernel.block(key, counter))
    x0, x1 = stream.threefry(_words(key), *_words(counter), _NUMPY)
    return int(x0.view(np.uint32)[0]) << 32 | int(x1.view(np.uint32)[0])

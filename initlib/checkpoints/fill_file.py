"""Fill of a file with the weights of a shard, window by window."""

import errno
import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..dtypes import numpy_dtype
from ..key import Key
from ..plans.entry import Entry
from ..plans.fill import Target, fill_arrays
from .shards import Shard
from .spans import spans

LARGE = 2**24  # bytes that are drawn, and handed to the disk, at a time


def fill_file(file: BinaryIO, shard: Shard, key: Key, advance: Callable[[int], None]) -> None:
    """Draw a shard in place, into mapped memory of its file.

    One call draws the spans that lie in a window of the file. The disk takes each window while the next is drawn, so
    that the disk is not idle until the end.
    """
    header = shard.header
    _allocate(file, header.size)
    file.seek(0)
    file.write(header.to_bytes())
    file.flush()
    handed = 0  # bytes that the disk was asked to take
    for window in _windows(shard):
        stop = window[-1].stop
        fill_arrays(_mapped(file, window), key)
        if stop - handed >= LARGE and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), handed, stop - handed, os.POSIX_FADV_DONTNEED)
            handed = stop
        advance(sum(span.stop - span.start for span in window))


class FileSpan(NamedTuple):
    """A box of a tensor, and the range of bytes of a file that holds the box."""

    entry: Entry
    place: Any  # the index of the box; `...` for all of the tensor
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    stop: int


def _windows(shard: Shard) -> Iterator[list[FileSpan]]:
    """Yield the spans of a shard in the order of the file, together at most `LARGE` bytes, or one span alone."""
    window: list[FileSpan] = []
    for name, stored in shard.header.tensors.items():
        entry, first = shard.entries[name], shard.header.data + stored.start
        dtype = numpy_dtype(entry.parameter.dtype)
        pieces = spans(entry, LARGE // dtype.itemsize)
        for piece in pieces:
            start, stop = first + piece.start * dtype.itemsize, first + piece.stop * dtype.itemsize
            if window and stop - window[0].start > LARGE:
                yield window
                window = []
            place = ... if len(pieces) == 1 else piece.place
            window.append(FileSpan(entry, place, piece.shape, dtype, start, stop))
    if window:
        yield window


def _mapped(file: BinaryIO, window: list[FileSpan]) -> Iterator[Target[NDArray[Any]]]:
    """Yield the boxes of a window, each with its mapped memory; the mapping ends when the last array is gone."""
    start = window[0].start
    memory = np.memmap(file, np.uint8, "r+", start, window[-1].stop - start)
    for entry, place, shape, dtype, first, last in window:
        yield entry, place, memory[first - start : last - start].view(dtype).reshape(shape)


def _allocate(file: BinaryIO, size: int) -> None:
    """Reserve room for the file on the disk, or raise OSError, which a later write to mapped memory cannot raise."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # the file system cannot reserve room
                raise
    zeros = bytes(min(size, LARGE))
    for start in range(0, size, LARGE):
        file.write(zeros[: size - start])

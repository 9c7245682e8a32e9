"""Verify: whether the tensors on disk are what a plan and a seed are."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from ..dtypes import numpy_dtype
from ..files.folder import checkpoint_files
from ..files.header import Header
from ..key import Key, as_key
from ..plans.entry import Entry
from .spans import spans

Progress = Callable[[int, int], None]  # called with the bytes that are done, and all of them

LARGE = 2**21  # weights that are drawn and read at a time
SMALL = 1024  # weights of one sample
SAMPLES = 16  # of each tensor
ANY = ""  # of a file without an index that can't be read, anything may have been in it


@dataclass(frozen=True)
class Difference:
    """What differs: a tensor, or a file; how; and where weights do, the index of the first one that is known to."""

    name: str
    what: str
    index: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return f"{self.name!r} {self.what}" if self.index is None else f"{self.name!r} {self.what} {self.index} on"


def verify(
    entries: Sequence[Entry],
    path: str | os.PathLike[str],
    seed: Any,
    *,
    whole: bool = False,
    progress: Progress | None = None,
) -> tuple[Difference, ...]:
    """Compare a checkpoint with what a plan's entries and a seed are: see `Plan.verify`."""
    key = as_key(seed)
    stored, unread, found = _read(path)
    known = {name for entry in entries for name in entry.parameter.names}
    found += [Difference(name, "is not in the plan") for name in stored if name not in known]
    total = sum(entry.parameter.bytes for entry in entries)
    done = 0
    for entry in entries:
        names = [name for name in entry.parameter.names if name in stored]
        if not names and not entry.kept and unread.isdisjoint((*entry.parameter.names, ANY)):
            found.append(Difference(entry.parameter.name, "is not there"))
        for name in names:
            file, header = stored[name]
            found += _compare(entry, name, file, header, key, whole)
        done += entry.parameter.bytes
        if progress is not None:
            progress(done, total)
    return tuple(found)


def _read(
    path: str | os.PathLike[str],
) -> tuple[dict[str, tuple[Path, Header]], set[str], list[Difference]]:
    """Which file has each tensor; which ones are in files that cannot be read; what is wrong with the files."""
    stored: dict[str, tuple[Path, Header]] = {}
    unread: set[str] = set()
    found: list[Difference] = []
    for file, names in checkpoint_files(path).items():
        try:
            header = Header.read(file)
        except (FileNotFoundError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError)
            found.append(Difference(file.name, "is not there" if missing else f"cannot be read: {error}"))
            unread.update([ANY] if names is None else names)
            continue
        for name in sorted(header.tensors.keys() ^ (header.tensors.keys() if names is None else names)):
            holds = "holds it" if name in header.tensors else "does not hold it"
            found.append(Difference(name, f"is not where the index says: {file.name} {holds}"))
        for name in header.tensors:
            if name in stored:
                found.append(Difference(name, f"is in {stored[name][0].name} and in {file.name}"))
            stored[name] = (file, header)
    return stored, unread, found


def _compare(entry: Entry, name: str, path: Path, header: Header, key: Key, whole: bool) -> Iterator[Difference]:
    parameter, stored = entry.parameter, header.tensors[name]
    if stored.shape != parameter.shape:
        yield Difference(name, f"has shape {stored.shape}, the plan has {parameter.shape}")
    elif stored.dtype_name != parameter.dtype:
        yield Difference(name, f"has dtype {stored.dtype_name or stored.dtype}, the plan has {parameter.dtype}")
    elif not entry.kept:
        with path.open("rb") as file:
            index = first_difference(entry, file, header.data + stored.start, key, whole=whole)
        if index is not None:
            yield Difference(name, "differs from weight", index)


def first_difference(
    entry: Entry, file: BufferedReader, start: int, key: Key, *, whole: bool
) -> tuple[int, ...] | None:
    """The index of the first weight that is not as it is drawn, in a file that has the tensor from byte `start` on.

    All of the tensor is compared, or samples of it, and then all of it where one differs. None where nothing does.
    """
    shape, dtype = entry.parameter.shape, numpy_dtype(entry.parameter.dtype)
    cut = spans(entry, LARGE if whole else SMALL)
    for span in cut if whole else cut.sample(SAMPLES):
        read = np.empty(span.shape, dtype)
        file.seek(start + span.start * dtype.itemsize)
        count = file.readinto(read.reshape(-1).view(np.uint8).data)
        drawn = entry.draw(key, span.place, read.copy())  # what is kept in part is as it was read
        bits = f"u{dtype.itemsize}"  # NaN is like NaN, and 0 is not like -0
        differs = drawn.reshape(-1).view(bits) != read.reshape(-1).view(bits)
        differs[count // dtype.itemsize :] = True
        if differs.any():
            if not whole and len(cut) > 1:
                return first_difference(entry, file, start, key, whole=True)
            return tuple(map(int, np.unravel_index(span.start + int(differs.argmax()), shape)))
    return None

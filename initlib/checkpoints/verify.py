"""Comparison of the tensors on disk with a plan and a seed."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._progress import Progress
from ..dtypes import numpy_dtype
from ..files.folder import checkpoint_files
from ..files.header import Header
from ..key import as_key
from ..plans.entry import Entry
from ..stream.boxes import Piece, full_box
from .compare import Comparison, Difference, Differences
from .held import HeldBox, HeldTensor, Values

ANY = ""  # stands for all names, where a file without an index cannot be read


def verify(
    entries: Sequence[Entry], path: str | os.PathLike[str], seed: Any, *, whole: bool, progress: Progress | None
) -> Differences:
    """Compare a checkpoint with a plan's entries and a seed: see `Plan.verify`."""
    key = as_key(seed)
    comparison = Comparison(entries, key, whole=whole)
    stored, unread, differences = _read(path)
    planned = {name for entry in entries for name in entry.parameter.names}
    differences += [Difference(name, "is not in the plan") for name in stored if name not in planned]
    total = sum(entry.parameter.bytes for entry in entries)
    done = 0
    for entry in entries:
        names = [name for name in entry.parameter.names if name in stored]
        if not names and not entry.kept and unread.isdisjoint((*entry.parameter.names, ANY)):
            differences.append(Difference(entry.parameter.name, "is missing"))
        for name in names:
            with held_in_file(name, *stored[name]) as tensor:
                difference = comparison.difference(entry, name, tensor)
            differences += [] if difference is None else [difference]
        done += entry.parameter.bytes
        if progress is not None:
            progress(done, total)
    return comparison.result(differences)


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, tuple[Path, Header]], set[str], list[Difference]]:
    """Return the file of each tensor, the tensors of files that cannot be read, and the differences of the files."""
    stored: dict[str, tuple[Path, Header]] = {}
    unread: set[str] = set()
    differences: list[Difference] = []
    for file, names in checkpoint_files(path).items():
        try:
            header = Header.read(file)
        except (FileNotFoundError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError)
            differences.append(Difference(file.name, "is missing" if missing else f"cannot be read: {error}"))
            unread.update([ANY] if names is None else names)
            continue
        for name in sorted(header.tensors.keys() ^ (header.tensors.keys() if names is None else names)):
            if name in header.tensors:
                differences.append(Difference(name, f"is in {file.name}, where the index does not place it"))
            else:
                differences.append(Difference(name, f"is not in {file.name}, where the index places it"))
        for name in header.tensors:
            if name in stored:
                differences.append(Difference(name, f"is in {stored[name][0].name} and in {file.name}"))
            stored[name] = (file, header)
    return stored, unread, differences


@contextmanager
def held_in_file(name: str, path: Path, header: Header) -> Iterator[HeldTensor]:
    """Yield a tensor of a file, which is open inside the context."""
    stored = header.tensors[name]
    with path.open("rb") as file:

        def read(piece: Piece) -> Values:
            dtype = numpy_dtype(stored.dtype_name)
            values = np.empty(piece.stop - piece.start, dtype)
            file.seek(header.data + stored.start + piece.start * dtype.itemsize)
            return values[: file.readinto(values.view(np.uint8).data) // dtype.itemsize]

        boxes = [HeldBox(full_box(stored.shape), (read,))]
        yield HeldTensor((name,), stored.shape, stored.dtype_name, lambda: boxes, fused=False)

"""Comparing the tensors on disk with a plan and a seed."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .._progress import Progress
from ..dtypes import DTYPES, numpy_dtype
from ..files.folder import checkpoint_files
from ..files.header import Header
from ..files.printable import escaped, printable
from ..key import Key, as_key
from ..plans.entry import Entry
from ..schemes.initializer import Initializer
from ..stream.boxes import Piece
from .spans import spans

LARGE = 2**21  # weights that are drawn and read at a time
SMALL = 1024  # weights of one sample
SAMPLES = 16  # of each tensor
# What docs/promise.md promises to 1e-6: products of matrices, relative to the gain, and exponentials, relative to the
# weight. Their last bits depend on the processor and its libraries.
TOLERANCE = 1e-6
PRODUCTS = {"orthogonal", "delta_orthogonal"}
EXPONENTIALS = {"log_uniform", "inverse_softplus"}
ANY = ""  # stands for all names, where a file without an index cannot be read


@dataclass(frozen=True)
class Difference:
    """A tensor or a file that differs, how it differs, and the index of the first weight that does, where one does."""

    name: str
    what: str
    index: tuple[int, ...] | None = None

    def __str__(self) -> str:
        place = "" if self.index is None else f" {self.index} on"
        return f"'{printable(self.name)}' {escaped(self.what)}{place}"


def verify(
    entries: Sequence[Entry],
    path: str | os.PathLike[str],
    seed: Any,
    *,
    whole: bool = False,
    progress: Progress | None = None,
) -> tuple[Difference, ...]:
    """Compare a checkpoint with a plan's entries and a seed: see `Plan.verify`."""
    key = as_key(seed)
    stored, unread, differences = _read(path)
    planned = {name for entry in entries for name in entry.parameter.names}
    differences += [Difference(name, "is not in the plan") for name in stored if name not in planned]
    total = sum(entry.parameter.bytes for entry in entries)
    done = 0
    for entry in entries:
        names = [name for name in entry.parameter.names if name in stored]
        if not names and not entry.kept and unread.isdisjoint((*entry.parameter.names, ANY)):
            differences.append(Difference(entry.parameter.name, "is not there"))
        for name in names:
            file, header = stored[name]
            differences += _compare(entry, name, file, header, key, whole)
        done += entry.parameter.bytes
        if progress is not None:
            progress(done, total)
    return tuple(differences)


def _read(
    path: str | os.PathLike[str],
) -> tuple[dict[str, tuple[Path, Header]], set[str], list[Difference]]:
    """Return the file of each tensor, the tensors of files that cannot be read, and the differences of the files."""
    stored: dict[str, tuple[Path, Header]] = {}
    unread: set[str] = set()
    differences: list[Difference] = []
    for file, names in checkpoint_files(path).items():
        try:
            header = Header.read(file)
        except (FileNotFoundError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError)
            differences.append(Difference(file.name, "is not there" if missing else f"cannot be read: {error}"))
            unread.update([ANY] if names is None else names)
            continue
        for name in sorted(header.tensors.keys() ^ (header.tensors.keys() if names is None else names)):
            holds = "holds it" if name in header.tensors else "does not hold it"
            differences.append(Difference(name, f"is not in the file that the index gives: {file.name} {holds}"))
        for name in header.tensors:
            if name in stored:
                differences.append(Difference(name, f"is in {stored[name][0].name} and in {file.name}"))
            stored[name] = (file, header)
    return stored, unread, differences


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


def first_difference(entry: Entry, file: BinaryIO, start: int, key: Key, *, whole: bool) -> tuple[int, ...] | None:
    """Return the index of the first weight that differs from the draw, in a file that has the tensor at byte `start`.

    The comparison is of the whole tensor, or of samples, and of the whole tensor where a sample differs. Return None
    where nothing differs.
    """
    shape, dtype = entry.parameter.shape, numpy_dtype(entry.parameter.dtype)
    boxes = spans(entry, LARGE if whole else SMALL)
    for span in boxes if whole else boxes.sample(SAMPLES):
        stored = np.empty(span.shape, dtype)
        file.seek(start + span.start * dtype.itemsize)
        count = file.readinto(stored.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
        drawn = entry.draw(key, span.index, stored.copy())  # a kept part stays as it is in the file
        bits = f"V{dtype.itemsize}"  # NaN equals NaN, and 0 differs from -0
        differs = (drawn.reshape(-1).view(bits) != stored.reshape(-1).view(bits)).reshape(span.shape)
        if differs.any():
            _allow_for_tolerance(differs, entry, span, drawn, stored)
        differs.reshape(-1)[count // dtype.itemsize :] = True
        if differs.any():
            if not whole and len(boxes) > 1:
                return first_difference(entry, file, start, key, whole=True)
            return tuple(map(int, np.unravel_index(span.start + int(differs.argmax()), shape)))
    return None


def _allow_for_tolerance(
    differs: NDArray[np.bool_], entry: Entry, span: Piece, drawn: NDArray[Any], stored: NDArray[Any]
) -> None:
    """Clear the marks of weights that are equal within the promise. A weight near a tie may round to its neighbour."""
    dtype = entry.parameter.dtype
    wide = np.complex128 if DTYPES[dtype].part else np.float64
    epsilon = 2.0**-7 if dtype == "bfloat16" else float(np.finfo(DTYPES[dtype].part or dtype).eps)
    for piece, outer, _ in entry.boxes(span.index):
        factories = _factories(piece.initializer)
        if not factories & (PRODUCTS | EXPONENTIALS):
            continue
        assert isinstance(piece.initializer, Initializer)
        ours, theirs = (array[(*outer, ...)].astype(wide) for array in (drawn, stored))
        scale: NDArray[Any] = abs(ours)
        if factories & PRODUCTS:
            greatest = max(map(abs, piece.initializer.bounds(piece.shape, piece.axes)))
            scale = np.maximum(scale, greatest if np.isfinite(greatest) else 0.0)
        with np.errstate(invalid="ignore", over="ignore"):
            close = abs(ours - theirs) <= TOLERANCE * scale + epsilon * abs(ours)
        differs[(*outer, ...)] &= ~close


def _factories(initializer: Any) -> set[str]:
    """Return the factories of an initializer and of the initializers in it; none for an array of values."""
    if not isinstance(initializer, Initializer):
        return set()
    return {initializer.factory}.union(*map(_factories, initializer.get_config().values()))

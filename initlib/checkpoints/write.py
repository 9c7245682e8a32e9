"""Write: a plan and a seed as files that a framework loads."""

import errno
import os
import re
import shutil
import warnings
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..dtypes import numpy_dtype
from ..files.atomic_write import atomic_write
from ..files.header import Header
from ..key import Key, as_key
from ..plans.entry import Entry
from .shards import INDEX, Shard, index, shards
from .spans import costs_a_whole, spans
from .verify import Progress, first_difference

LARGE = 2**24  # bytes that are drawn, and handed to the disk, at a time
OURS = re.compile(r"model(-[0-9]{5}-of-[0-9]{5})?\.safetensors(\.index\.json)?")  # what a loader looks for
SHOWN = 5  # names in a message


def write(
    entries: Sequence[Entry],
    folder: str | os.PathLike[str],
    seed: Any,
    *,
    max_shard_size: int | str = "5GB",
    overwrite: bool = False,
    only: slice | None = None,
    progress: Progress | None = None,
) -> tuple[Path, ...]:
    """Write the checkpoint that a plan's entries and a seed are: see `Plan.write`."""
    if seed is None:
        raise TypeError("seed must be given: without it nobody can go on with the files, or verify them")
    if not isinstance(only, slice | None):
        raise TypeError(f"only must be a slice of the files, such as slice(3, None, 64), got {only!r}")
    key, folder = as_key(seed), Path(folder)
    files = shards(entries, key, max_shard_size)
    mine = files if only is None else files[only]
    text = index(files)
    _refuse_others(folder, files, text, overwrite)
    missing = [shard for shard in mine if not _finished(folder / shard.name, shard, key, overwrite)]
    _check_room(folder, missing)
    _warn_of_kept(entries)

    total = sum(_weights(shard) for shard in mine)
    done = total - sum(_weights(shard) for shard in missing)

    def advance(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, total)

    advance(0)
    folder.mkdir(parents=True, exist_ok=True)
    for shard in missing:
        for stale in folder.glob(f".{shard.name}.*.partial"):  # of a process that was killed
            stale.unlink(missing_ok=True)
        with atomic_write(folder / shard.name) as file:
            _fill(file, shard, key, advance)
    if text is not None and not _holds(folder / INDEX, text):
        with atomic_write(folder / INDEX) as file:
            file.write(text)
    return tuple(folder / shard.name for shard in missing)


def _weights(shard: Shard) -> int:
    return shard.header.size - shard.header.data


def _fill(file: BinaryIO, shard: Shard, key: Key, advance: Callable[[int], None]) -> None:
    """Draw a shard into its file, in place: into memory that is the file's.

    The disk is told to take each part while the next one is drawn, so that it is not left with all of them in the end.
    """
    header = shard.header
    _allocate(file, header.size)
    file.seek(0)
    file.write(header.to_bytes())
    file.flush()
    told = 0  # the bytes that the disk was told to take
    for name, stored in header.tensors.items():
        entry, dtype = shard.entries[name], numpy_dtype(shard.entries[name].parameter.dtype)
        for span in spans(entry, LARGE // dtype.itemsize):
            start = header.data + stored.start + span.start * dtype.itemsize
            stop = header.data + stored.start + span.stop * dtype.itemsize
            entry.draw(key, span.place, np.memmap(file, dtype, "r+", start, span.shape))
            if stop - told >= LARGE and hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), told, stop - told, os.POSIX_FADV_DONTNEED)
                told = stop
            advance(stop - start)


def _allocate(file: BinaryIO, size: int) -> None:
    """Take the file's room on the disk, or raise: memory that is mapped cannot say later that there is none."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that cannot
                raise
    zeros = bytes(min(size, LARGE))
    for start in range(0, size, LARGE):
        file.write(zeros[: size - start])


def _finished(path: Path, shard: Shard, key: Key, overwrite: bool) -> bool:
    """Whether the file is there. Raises FileExistsError where it is another one, unless that may be replaced."""
    if not os.path.lexists(path):
        return False
    why = _why_not(path, shard, key)
    if why and not overwrite:
        raise FileExistsError(f"{path} is there, and is not what this plan and seed are: {why}; overwrite replaces it")
    return not why


def _why_not(path: Path, shard: Shard, key: Key) -> str:
    """What keeps a file from being the shard; nothing if it is: if its header is, its size, and samples of it."""
    try:
        header = Header.read(path)
    except (OSError, ValueError) as error:
        return str(error)
    said, ours = header.metadata, shard.header.metadata
    if "initlib.plan" not in said:
        return "it does not say that initlib wrote it from a plan"
    for field in ours:
        if said.get(field) != ours[field]:
            return f"its {field} is {said.get(field)}, not {ours[field]}"
    if header != shard.header:
        return "it holds other tensors"
    with path.open("rb") as file:
        for name, stored in header.tensors.items():
            entry = shard.entries[name]
            if costs_a_whole(entry):  # to draw it once more is to write it once more; `verify` does
                continue
            index = first_difference(entry, file, header.data + stored.start, key, whole=False)
            if index is not None:
                return f"{name} differs from weight {index} on"
    return ""


def _refuse_others(folder: Path, files: Sequence[Shard], text: bytes | None, overwrite: bool) -> None:
    """Raise where a loader would find something else beside, or instead of, what will be written."""
    names = {shard.name for shard in files} | ({INDEX} if text is not None else set())
    there = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    others = [name for name in there if OURS.fullmatch(name) and name not in names]
    if others:
        raise FileExistsError(
            f"{str(folder)!r} holds {_some(others)}, which this plan, in {len(files)} files, does not have; "
            "name another folder, or remove them"
        )
    if text is not None and INDEX in there and not overwrite and not _holds(folder / INDEX, text):
        raise FileExistsError(f"{folder / INDEX} is there, and is another plan's; overwrite replaces it")


def _holds(path: Path, text: bytes) -> bool:
    """Whether the file is there and holds that text."""
    if not path.is_file() or path.stat().st_size != len(text):
        return False
    return path.read_bytes() == text


def _check_room(folder: Path, missing: Sequence[Shard]) -> None:
    """Raise before anything is written where the disk will not hold it all."""
    parent = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(parent).free
    # A file that is replaced goes when the new one is whole.
    old = [path.stat().st_size if path.is_file() else 0 for path in (folder / shard.name for shard in missing)]
    new = [shard.header.size for shard in missing]
    most = max((size - gone for size, gone in zip(accumulate(new), accumulate([0, *old]), strict=False)), default=0)
    if most > free:
        raise OSError(
            errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {most:,} bytes are needed, {free:,} are free", str(folder)
        )


def _warn_of_kept(entries: Sequence[Entry]) -> None:
    kept = [entry.parameter.name for entry in entries if entry.kept]
    if kept:
        warnings.warn(
            f"what the plan keeps is not in the checkpoint, for its values are the model's: {_some(kept)}",
            UserWarning,
            stacklevel=4,
        )


def _some(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")

"""Writing a plan and a seed as files that a framework loads."""

import errno
import json
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

from .._arguments import as_path
from .._progress import Progress
from .._user_warning import warn
from ..files.atomic_write import atomic_write, is_being_written
from ..files.folder import INDEX
from ..files.header import Header
from ..key import Key, as_key
from ..plans.entry import Entry
from ..plans.fills.opened_sources import opened_checkpoints
from ..plans.text.folding import listed
from .compare import Comparison
from .fill_file import fill_file
from .shards import Shard, index, shards
from .verify import held_in_file

LOADED = re.compile(r"model(-[0-9]{5}-of-[0-9]{5})?\.safetensors(\.index\.json)?")  # the names that a loader looks for
CLAIM = ".initlib-write.json"  # which plan and seed are being written into the folder
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
    """Write the checkpoint of a plan's entries and a seed: see `Plan.write`."""
    if seed is None:
        raise TypeError(
            "seed must be an int, a Key or a numpy.random.Generator, got None. Pass a seed: files of a "
            "random seed cannot be verified"
        )
    if not isinstance(only, slice | None):
        raise TypeError(f"only must be a slice of the files, such as slice(3, None, 64), got {only!r}")
    key, folder = as_key(seed), as_path(folder, "folder")
    files = shards(entries, key, max_shard_size)
    mine = files if only is None else files[only]
    text = index(files)
    _refuse_sources(entries, folder, files)
    _refuse_others(folder, files, text, overwrite)
    missing = [shard for shard in mine if not _finished(folder / shard.name, shard, key, overwrite)]
    _check_room(folder, missing)
    _warn_of_kept(entries)
    folder.mkdir(parents=True, exist_ok=True)
    claim = Claim(folder, files, overwrite)
    try:
        _refuse_others(folder, files, text, overwrite)  # a writer may have come and gone since the first look
        written = _write_missing(folder, mine, missing, key, overwrite, progress)
        if text is not None and not _holds(folder / INDEX, text):
            with suppress(FileExistsError), atomic_write(folder / INDEX, replace=overwrite) as file:
                file.write(text)
            if not _holds(folder / INDEX, text):
                raise _another_index(folder)
    except BaseException:
        claim.withdraw()
        raise
    if all((folder / shard.name).exists() for shard in files):
        claim.remove()
    return written


def _write_missing(
    folder: Path, mine: Sequence[Shard], missing: list[Shard], key: Key, overwrite: bool, progress: Progress | None
) -> tuple[Path, ...]:
    """Write the missing files, first those that no other process is writing; return their paths, in order."""
    total = sum(shard.weight_bytes for shard in mine)
    done = total - sum(shard.weight_bytes for shard in missing)
    written, waiting = set(), list(missing)

    def advance(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, total)

    advance(0)
    while waiting:
        shard = next((shard for shard in waiting if not is_being_written(folder / shard.name)), waiting[0])
        waiting.remove(shard)
        path, before = folder / shard.name, done
        if not _finished(path, shard, key, overwrite):
            try:
                with atomic_write(path, replace=overwrite) as file:
                    fill_file(file, shard, key, advance)
                written.add(path)
            except FileExistsError:  # a file of this name appeared meanwhile
                if not _finished(path, shard, key, overwrite):
                    raise
        advance(before + shard.weight_bytes - done)
    return tuple(folder / shard.name for shard in missing if folder / shard.name in written)


class Claim:
    """A file that reserves a folder for the writers of one plan and one seed."""

    def __init__(self, folder: Path, files: Sequence[Shard], overwrite: bool) -> None:
        """Claim the folder. Raises FileExistsError if writers of another plan or seed have claimed the folder."""
        self.path = folder / CLAIM
        self.text = json.dumps(files[0].header.metadata | {"files": str(len(files))}, indent=1).encode()
        self.is_new = False
        while not _holds(self.path, self.text):
            try:
                with atomic_write(self.path, replace=overwrite) as file:
                    file.write(self.text)
                self.is_new = True
                return
            except FileExistsError:
                if not _holds(self.path, self.text) and self.path.exists():
                    raise FileExistsError(
                        f"folder {str(folder)!r} must not be in use by the write of another plan or seed, got {CLAIM}. "
                        f"Wait for the end of the other write. If the other process was killed, remove {CLAIM}"
                    ) from None

    def withdraw(self) -> None:
        """Remove the claim, if this process made it."""
        if self.is_new:
            self.remove()

    def remove(self) -> None:
        """Remove the claim, unless another plan has replaced it."""
        if _holds(self.path, self.text):
            self.path.unlink(missing_ok=True)


def _finished(path: Path, shard: Shard, key: Key, overwrite: bool) -> bool:
    """Return whether the path holds the shard. Raises FileExistsError for another file, unless `overwrite`."""
    if not os.path.lexists(path):
        return False
    difference = _difference(path, shard, key)
    if difference and not overwrite:
        raise FileExistsError(
            f"{path} exists and was not written by this plan and seed ({difference}); pass overwrite=True to replace it"
        )
    return not difference


def _difference(path: Path, shard: Shard, key: Key) -> str:
    """Describe how a file differs from the shard in header, size or samples of weights; "" if it does not differ."""
    try:
        header = Header.read(path)
    except (OSError, ValueError) as error:
        return str(error)
    metadata = header.metadata
    if "initlib.plan" not in metadata:
        return "the metadata names no plan of initlib"
    for field, expected in shard.header.metadata.items():
        if metadata.get(field) != expected:
            return f"{field} is {metadata.get(field)}, not {expected}"
    if header != shard.header:
        return "the file holds other tensors"
    comparison = Comparison(tuple(shard.entries.values()), key, whole=False)
    for name, entry in shard.entries.items():
        with held_in_file(name, path, header) as tensor:
            difference = comparison.difference(entry, name, tensor)
        if difference is not None:
            return str(difference)
    return ""


def _refuse_sources(entries: Sequence[Entry], folder: Path, files: Sequence[Shard]) -> None:
    """Raise ValueError if a file would replace a checkpoint that the plan reads: a killed write could not resume."""
    sources = opened_checkpoints(entries)
    for path in (folder / shard.name for shard in files):
        if any(source.has_file(path) for source in sources):
            raise ValueError(
                f"folder must not be the folder of a checkpoint that the plan reads, got {path}. Pass another folder"
            )


def _refuse_others(folder: Path, files: Sequence[Shard], text: bytes | None, overwrite: bool) -> None:
    """Raise FileExistsError for files that a loader would read as a part of the checkpoint, or in its place."""
    names = {shard.name for shard in files} | ({INDEX} if text is not None else set())
    present = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    others = [name for name in present if LOADED.fullmatch(name) and name not in names]
    if others:
        raise FileExistsError(
            f"folder {str(folder)!r} must hold only the files of this plan ({len(files)}), got {listed(others, SHOWN)} "
            "too. Pass another folder, or remove the other files"
        )
    if text is not None and INDEX in present and not overwrite and not _holds(folder / INDEX, text):
        raise _another_index(folder)


def _another_index(folder: Path) -> FileExistsError:
    return FileExistsError(f"{folder / INDEX} exists and belongs to another plan; pass overwrite=True to replace it")


def _holds(path: Path, text: bytes) -> bool:
    """Return whether the path is a file that holds exactly the text."""
    try:
        return path.is_file() and path.stat().st_size == len(text) and path.read_bytes() == text
    except FileNotFoundError:
        return False


def _check_room(folder: Path, missing: Sequence[Shard]) -> None:
    """Raise OSError, before anything is written, where the disk has no room for all missing files."""
    parent = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(parent).free
    # A replaced file gives its room back when the new one is complete.
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
        warn(
            f"the checkpoint omits the tensors that the plan keeps, because only the model has their values: "
            f"{listed(kept, SHOWN)}"
        )

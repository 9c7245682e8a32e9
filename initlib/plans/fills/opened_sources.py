"""Opened sources: the checkpoints that the fills of a plan read, opened once each."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...files.checkpoint_source import CheckpointSource
from ...files.folder import INDEX
from ..entry import Entry
from ..packing.logical_weights import members
from ..text.errors import RuleNeededError
from .loaded import Loaded
from .parts import Parts
from .sources import ArraySource, FileSource
from .sums import Filling, Sum

ADVICE = "Pass the path of a safetensors file, an index or a folder with one of them, or a mapping of arrays"


class OpenedSources:
    """The checkpoints of one plan; each is opened at its first use, which reads its headers."""

    def __init__(self, paths: Mapping[str, str] | None = None) -> None:
        """Take the checkpoints that may be opened: `paths` maps each path in the plan to the file. None allows all."""
        self.paths = paths
        self._opened: dict[FileSource | ArraySource, FileSource | ArraySource | RuleNeededError] = {}

    def complete(self, entry: Entry) -> Entry:
        """Return the entry with opened sources and with the names of all tensors. Raises ValueError."""
        if not _holds_loaded(entry.filling):
            return entry
        parameter = entry.parameter
        fill = self._named(entry.filling, parameter.names, parameter.shape, parameter.axes)
        return replace(entry, filling=fill)

    def _named(self, fill: Any, names: Sequence[str], shape: tuple[int, ...], axes: str | None) -> Any:
        if not isinstance(fill, Parts) or not _holds_loaded(fill):
            return with_loaded(fill, lambda each: self._resolved(each, names))
        fillings = [
            self._named(part.filling, (part.name,), part.shape, part.axes)
            for part in members(fill, names[0], shape, axes)
        ]
        return fill.with_fillings(fillings)

    def _resolved(self, fill: Loaded, names: Sequence[str]) -> Loaded:
        source = self._open(fill.source)
        return fill if source.opened is None else fill.resolved(names, source)

    def _open(self, source: FileSource | ArraySource) -> FileSource | ArraySource:
        if isinstance(source, ArraySource) or (self.paths is not None and source.path not in self.paths):
            return source
        if source not in self._opened:
            try:
                self._opened[source] = source.open(None if self.paths is None else self.paths[source.path])
            except (OSError, ValueError) as error:
                self._opened[source] = RuleNeededError(f"{source} cannot be read: {error}", ADVICE)
        opened = self._opened[source]
        if isinstance(opened, RuleNeededError):
            raise opened
        return opened


def opened_checkpoints(entries: Iterable[Entry]) -> set[CheckpointSource]:
    """Return the checkpoints that the fills of these entries read. A plan from JSON opens only `sources=`."""
    return {source.opened for source in _file_sources(entries) if source.opened is not None}


def is_source(path: Path, entries: Iterable[Entry]) -> bool:
    """Return whether the fills of these entries read a file.

    The paths of sources that are not opened are compared as text: a plan from JSON may hold any path.
    """
    target = _absolute(path)
    return any(
        _may_hold(_absolute(source.path), target) if source.opened is None else source.opened.has_file(path)
        for source in set(_file_sources(entries))
    )


def _absolute(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  # `Path.absolute` keeps "..", and `Path.resolve` reads links


def _may_hold(source: Path, file: Path) -> bool:
    """Return whether a checkpoint at that path (a file, an index or a folder) may contain the file."""
    folder = source.parent if source.suffix == ".json" else source
    return file == source or (file.parent == folder and (file.suffix == ".safetensors" or file.name == INDEX))


def _file_sources(entries: Iterable[Entry]) -> Iterator[FileSource]:
    for entry in entries:
        for addend in entry.added:
            for term in addend.terms:
                if isinstance(term, Loaded) and isinstance(term.source, FileSource):
                    yield term.source


def with_loaded(fill: Any, change: Callable[[Loaded], Loaded]) -> Any:
    """Return a fill in which a function has changed each `Loaded`, also in sums and parts."""
    if isinstance(fill, Loaded):
        return change(fill)
    if not _holds_loaded(fill):
        return fill
    if isinstance(fill, Sum):
        return replace(fill, terms=tuple(with_loaded(term, change) for term in fill.terms))
    return replace(fill, fillings=tuple(with_loaded(each, change) for each in fill.fillings))


def _holds_loaded(fill: Any) -> bool:
    """Return whether a fill reads a checkpoint or arrays."""
    if not isinstance(fill, Filling):
        return False
    inner = fill.terms if isinstance(fill, Sum) else fill.fillings if isinstance(fill, Parts) else ()
    return isinstance(fill, Loaded) or any(map(_holds_loaded, inner))

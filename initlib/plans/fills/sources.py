"""Sources of old weights: a checkpoint, or arrays in memory."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._adapters import adapter, framework_of
from ...files.checkpoint_source import CheckpointSource
from ...files.printable import printable
from ...stream.boxes import Box, box_index

LONGEST_PATH = 4096  # characters


@dataclass(frozen=True)
class FileSource:
    """A checkpoint by its path, with the digest and the size that a plan has recorded.

    `opened` holds the headers; None in a plan from JSON, which opens no file by itself.
    """

    path: str
    digest: str | None = None
    size: int | None = None
    opened: CheckpointSource | None = field(default=None, compare=False, repr=False)

    def open(self, path: str | None = None) -> "FileSource":
        """Return the source with the headers of its checkpoint, which may be at another path.

        Raises OSError; ValueError for a broken checkpoint, or for one that is not what the plan has recorded.
        """
        opened = CheckpointSource(self.path if path is None else path)
        if self.digest is not None and (self.digest, self.size) != (opened.digest, opened.size):
            raise ValueError(
                f"{path or self.path} must be the checkpoint that the plan was made with, of {self.size} bytes and "
                f"with headers of SHA-256 {self.digest}, got {opened.size} bytes and {opened.digest}"
            )
        return FileSource(self.path, opened.digest, opened.size, opened)

    @property
    def checkpoint(self) -> CheckpointSource:
        """Return the opened checkpoint. Raises ValueError if nothing was opened."""
        if self.opened is None:
            raise ValueError(
                f"source {self.path!r} must be named before it is read. Pass sources={{{self.path!r}: path}} to "
                "Plan.load or Plan.from_json"
            )
        return self.opened

    def tensors(self) -> Mapping[str, Any]:
        """Return a mapping from names to objects with a shape and a dtype. Raises ValueError if nothing was opened."""
        return self.checkpoint.tensors

    def read(self, name: str, box: Box) -> NDArray[Any]:
        """Return a box of a tensor, with all its axes."""
        return self.checkpoint.read(name, box)

    def check_unchanged(self, name: str) -> None:
        """Raise ValueError if nothing was opened, or if the file of a tensor has changed."""
        self.checkpoint.check_unchanged(name)

    def __str__(self) -> str:
        return json.dumps(self.path, ensure_ascii=False)


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Arrays in memory, by name."""

    arrays: Mapping[str, Any]

    @property
    def opened(self) -> Mapping[str, Any]:
        """Return the arrays, which need not be opened."""
        return self.arrays

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArraySource) and other.arrays is self.arrays

    def __hash__(self) -> int:
        return id(self.arrays)

    def tensors(self) -> Mapping[str, Any]:
        """Return the arrays."""
        return self.arrays

    def read(self, name: str, box: Box) -> NDArray[Any]:
        """Return a box of an array, with all its axes."""
        array = self.arrays[name]
        if framework_of(array) == "keras":
            array = array.value
        if framework_of(array) == "torch":
            array = adapter("torch", "drawing.memory").read_array(array)
        return np.array(array[box_index(tuple(part._replace(drop=False) for part in box))])

    def check_unchanged(self, name: str) -> None:
        """Accept the array: a plan has no record of arrays in memory."""

    def __str__(self) -> str:
        return f"<{len(self.arrays)} arrays>"


def array_in(arrays: Mapping[str, Any], name: str) -> Any:
    """Return the array of a name. Raises ValueError for an object that is no array, such as a list."""
    array = arrays[name]
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        raise ValueError(
            f"source must hold an array under {name!r}, got {type(array).__name__}. Pass numpy.asarray(value)"
        )
    return array


def as_path(source: Any) -> str:
    """Return the argument as the path of a source. Raises TypeError or ValueError."""
    try:
        path = os.fspath(source)
    except TypeError:
        hint = ". Pass its state_dict()" if hasattr(source, "state_dict") else ""
        raise TypeError(f"source must be a path or a mapping of arrays, got {type(source).__name__}{hint}") from None
    if not isinstance(path, str):
        raise TypeError(f"source must be a path of text, got {path!r}")
    if not path or len(path) > LONGEST_PATH or not path.isprintable():
        raise ValueError(f"source must be a path of 1 to {LONGEST_PATH} printable characters, got '{printable(path)}'")
    return path

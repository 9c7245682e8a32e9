"""Files of a checkpoint on disk."""

import os
from pathlib import Path

from .._arguments import as_path
from .header import MAX_HEADER, check_text
from .json_object import parse_object
from .printable import printable
from .regular_file import open_regular

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"


def checkpoint_files(path: str | os.PathLike[str]) -> dict[Path, list[str] | None]:
    """Return the safetensors files of a checkpoint, each with the tensors that the index lists (None: no index).

    The path is a safetensors file, an index, or a folder that holds one of the two under its usual name. Raises
    OSError; ValueError for a broken index, or an index that names a file outside its own folder.
    """
    path = as_path(path)
    if path.is_dir():
        present = [path / name for name in (SINGLE, INDEX) if (path / name).exists()]
        if not present:
            raise FileNotFoundError(f"{str(path)!r} must hold {SINGLE} or {INDEX}, got neither")
        if len(present) == 2:
            raise ValueError(f"{str(path)!r} must hold one of {SINGLE} and {INDEX}, got both. Pass the path of one")
        path = present[0]
    if path.suffix != ".json":
        return {path: None}
    try:
        weight_map = _weight_map(path)
    except ValueError as error:
        raise ValueError(f"{path} is not the index of a checkpoint: {error}") from None
    files: dict[Path, list[str] | None] = {}
    for name, file in weight_map.items():
        names = files.setdefault(path.parent / file, [])
        assert names is not None
        names.append(name)
    return files


def _weight_map(path: Path) -> dict[str, str]:
    """Return the file name of each tensor."""
    with open_regular(path) as file:
        text = file.read(MAX_HEADER + 1)
    if len(text) > MAX_HEADER:
        raise ValueError(f"the file has more than {MAX_HEADER} bytes")
    weight_map = parse_object(text.decode()).get("weight_map")
    if not isinstance(weight_map, dict):
        raise ValueError("the file has no object weight_map")
    for name, file_name in weight_map.items():
        check_text(name, "a name")
        if not _is_beside(file_name):
            raise ValueError(
                f"weight_map must name .safetensors files in the folder of the index, got '{printable(str(file_name))}'"
            )
    return weight_map


def _is_beside(name: object) -> bool:
    """Return whether the value names a safetensors file in the same folder; Windows reads "C:x" as another one."""
    return isinstance(name, str) and name.endswith(".safetensors") and name.isprintable() and not {*"/\\:"} & {*name}

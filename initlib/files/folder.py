"""The files that a checkpoint on disk consists of."""

import os
from pathlib import Path

from ..checkpoints.shards import INDEX, SINGLE
from .header import MOST, read_object, short, strings


def checkpoint_files(path: str | os.PathLike[str]) -> dict[Path, list[str] | None]:
    """The safetensors files of a checkpoint, each with the tensors that the index says it has; None without an index.

    The path is such a file, an index, or a folder that holds one of them under its usual name. Raises OSError, or
    ValueError for an index that is none, or that names a file outside its own folder.
    """
    path = Path(path)
    if path.is_dir():
        found = [path / name for name in (SINGLE, INDEX) if (path / name).exists()]
        if not found:
            raise FileNotFoundError(f"{str(path)!r} has neither {SINGLE} nor {INDEX}")
        if len(found) == 2:
            raise ValueError(f"{str(path)!r} has both {SINGLE} and {INDEX}: name the one that is meant")
        path = found[0]
    if path.suffix != ".json":
        return {path: None}
    try:
        weight_map = _weight_map(path)
    except ValueError as error:
        raise ValueError(f"{path} is no index of a checkpoint: {error}") from None
    files: dict[Path, list[str] | None] = {}
    for name, file in weight_map.items():
        named = files.setdefault(path.parent / file, [])
        assert named is not None
        named.append(name)
    return files


def _weight_map(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        text = file.read(MOST + 1)
    if len(text) > MOST:
        raise ValueError(f"it has more than {MOST} bytes")
    parts = read_object(text, lambda name, value: strings(value) if name == "weight_map" else None)
    weight_map = parts.get("weight_map")
    if weight_map is None:
        raise ValueError("it has no weight_map")
    for name in set(weight_map.values()):
        if not name.endswith(".safetensors") or {"/", "\\", "\0"} & set(name):
            raise ValueError(f"weight_map names {short(name)}, which is no .safetensors beside it")
    return weight_map

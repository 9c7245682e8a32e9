"""Files of a plan and a seed: their names, headers and sizes, before any weight is drawn."""

import json
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from .._version import __version__
from ..files.folder import SINGLE
from ..files.header import Header
from ..key import Key
from ..plans.entry import Entry
from ..plans.text.json_encoding import encode

STREAM = 1  # the version of docs/stream.md
UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class Shard(NamedTuple):
    """A file: its name, its header, and the entry of each of its tensors."""

    name: str
    header: Header
    entries: dict[str, Entry]

    @property
    def weight_bytes(self) -> int:
        """Return the number of bytes behind the header."""
        return self.header.size - self.header.data


def shards(entries: Sequence[Entry], key: Key, max_shard_size: int | str) -> tuple[Shard, ...]:
    """Return the files of a plan's entries, with the names and the sizes that Hugging Face's libraries use.

    Tensors come in the plan's order, and each file is as full as `max_shard_size` allows; a larger tensor has a file
    of its own. No file holds a kept tensor. Raises ValueError for a plan that no file can hold.
    """
    most = parse_size(max_shard_size)
    groups: list[list[Entry]] = []
    current: list[Entry] = []
    size = 0
    for entry in entries:
        if entry.kept:
            continue
        if not entry.filled:
            raise ValueError(
                f"every part of {entry.parameter.name} must have an initializer to be written, got a part that the "
                "plan keeps"
            )
        entry.check_unchanged()
        if entry.parameter.bytes > most:
            groups.append([entry])
            continue
        if size + entry.parameter.bytes > most:
            groups.append(current)
            current, size = [], 0
        current.append(entry)
        size += entry.parameter.bytes
    if current:
        groups.append(current)
    if not groups:
        raise ValueError("the plan must fill at least one tensor to be written, got a plan that keeps all its tensors")
    metadata = provenance(entries, key)
    return tuple(_shard(number, len(groups), group, metadata) for number, group in enumerate(groups))


def _shard(number: int, count: int, entries: list[Entry], metadata: dict[str, str]) -> Shard:
    name = SINGLE if count == 1 else f"model-{number + 1:05d}-of-{count:05d}.safetensors"
    by_name = {entry.parameter.name: entry for entry in entries}
    tensors = {name: (entry.parameter.dtype, entry.parameter.shape) for name, entry in by_name.items()}
    return Shard(name, Header.of(tensors, metadata), by_name)


def provenance(entries: Sequence[Entry], key: Key) -> dict[str, str]:
    """Return the metadata of each file: its origin, and "format": "pt", which allows frameworks to load it."""
    return {
        "format": "pt",
        "initlib": __version__,
        "initlib.plan": sha256(encode(entries).encode()).hexdigest(),
        "initlib.seed": str(key.seed),
        "initlib.stream": str(STREAM),
    }


def index(files: tuple[Shard, ...]) -> bytes | None:
    """Return the text that maps tensors to files; None for a single file, which needs no index."""
    if len(files) == 1:
        return None
    total = sum(shard.weight_bytes for shard in files)
    weight_map = {name: shard.name for shard in files for name in shard.entries}
    text = json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2, sort_keys=True)
    return f"{text}\n".encode()


def parse_size(size: int | str) -> int:
    """Return a number of bytes from an int, or from a text with a decimal unit: KB, MB, GB or TB.

    >>> parse_size("5GB"), parse_size("1.5 MB"), parse_size(4096)
    (5000000000, 1500000, 4096)
    """
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?([KMGT]B)?", str(size), re.IGNORECASE)
    count = int(float(match[1]) * UNITS[(match[2] or "").upper()]) if match else 0
    if count < 1 or isinstance(size, bool):
        raise ValueError(f"max_shard_size must be a number of bytes, or a text such as '5GB' or '500MB', got {size!r}")
    return count

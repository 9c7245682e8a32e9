"""Table: a plan as rows, and as text for people."""

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from ...axes import fans
from ...schemes.initializer import Initializer
from ..entry import Entry
from ..packing.logical_weights import LogicalWeight
from ..packing.part_axes import ROW_MAJOR
from ..rules.parts import Parts
from .describe import described
from .folding import fold as folded

COLUMNS = ("name", "shape", "dtype", "axes", "fan_in", "fan_out", "initializer", "std", "bytes", "notes")
_NUMBERS = ("fan_in", "fan_out", "std", "bytes")


def rows(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """A row for each tensor, and in it one for each of its parts."""
    return [_row(entry) for entry in entries]


def _row(entry: Entry) -> dict[str, Any]:
    parameter = entry.parameter
    weights = [_weight(piece) for piece in entry.pieces]
    split = isinstance(entry.filling, Parts)
    whole = weights[0] if weights and not split else {}
    return {
        "name": parameter.name,
        "stream": entry.stream,
        "kind": parameter.kind,
        "shape": parameter.shape,
        "dtype": parameter.dtype,
        "axes": parameter.axes,
        "fan_in": whole.get("fan_in"),
        "fan_out": whole.get("fan_out"),
        "initializer": f"{len(weights)} part{'s' * (len(weights) != 1)}" if split else whole.get("initializer", "keep"),
        "std": whole.get("std"),
        "bytes": parameter.bytes,
        "notes": list(entry.notes),
        "parts": weights if split else [],
    }


def _weight(piece: LogicalWeight) -> dict[str, Any]:
    """The row of one weight, as it would be alone."""
    if isinstance(piece.initializer, Initializer):
        initializer, std = _drawn(piece.initializer, piece.shape, piece.axes)
    else:
        initializer, std = "values", float(np.std(piece.initializer)) if piece.initializer.size else math.nan
    fan_in, fan_out = (None, None) if piece.axes == ROW_MAJOR else fans(piece.shape, piece.axes)
    return {
        "name": piece.stream,
        "shape": piece.shape,
        "axes": None if piece.axes == ROW_MAJOR else piece.axes,
        "fan_in": fan_in,
        "fan_out": fan_out,
        "initializer": initializer,
        "std": None if math.isnan(std) else std,
    }


@lru_cache(maxsize=4096)
def _drawn(initializer: Initializer, shape: tuple[int, ...], axes: str) -> tuple[str, float]:
    """The initializer in words, and the std of its weights; nan where there is none."""
    return described(initializer), math.nan if 0 in shape else initializer.std(shape, axes)


def table(entries: Iterable[Entry], fold: bool) -> str:
    """The rows as aligned text, those that differ in the numbers of their names as one."""
    every = rows(entries)
    contents = [(row["name"], _cells(row)) for row in every]
    named = folded(contents) if fold else [(name, [place]) for place, (name, _) in enumerate(contents)]
    lines: list[tuple[str, ...]] = [COLUMNS]
    for name, places in named:
        first, *parts = contents[places[0]][1]
        lines.append((name, *first))
        lines += parts
    return "\n".join([*_aligned(lines), _total(every)])


def _cells(row: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    """The cells of a row, but for its name, and then those of its parts."""
    before = row["stream"].rpartition(".")[0]
    names = [part["name"] for part in row["parts"]]
    while before and not all(name.startswith(before + ".") for name in names):
        before = before.rpartition(".")[0]
    start = len(before) + 1 if before else 0
    parts = folded((part["name"][start:], _texts(part)) for part in row["parts"])
    texts = [("  " + name, *_texts(row["parts"][places[0]])) for name, places in parts]
    return (_texts(row), *texts)


def _texts(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(_text(column, row.get(column)) for column in COLUMNS[1:])


def _text(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column == "shape":
        return "x".join(map(str, value)) or "()"
    if column == "std":
        return f"{value:.4g}"
    if column == "bytes":
        return f"{value:,}"
    return "; ".join(value) if column == "notes" else str(value)


def _aligned(lines: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    right = [column in _NUMBERS for column in COLUMNS]
    return [
        "  ".join(
            cell.rjust(width) if at_right else cell.ljust(width)
            for cell, width, at_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]


def _total(every: list[dict[str, Any]]) -> str:
    weights = sum(int(np.prod(row["shape"], dtype=object)) for row in every)
    return f"{len(every):,} parameters, {weights:,} weights, {sum(row['bytes'] for row in every):,} bytes"

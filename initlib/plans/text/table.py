"""Tables: a plan as rows, and as text for people."""

import math
import re
import textwrap
from collections.abc import Iterable
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ...axes import fans, has_fans
from ...schemes.initializer import Initializer
from ..entry import Entry
from ..fills.loaded import Loaded
from ..fills.parts import Parts
from ..fills.sources import FileSource
from ..fills.sums import Addend, Term
from ..packing.logical_weights import LogicalWeight
from ..packing.part_axes import ROW_MAJOR
from .describe import described
from .folding import fold as folded
from .folding import merged, unnumbered

COLUMNS = ("name", "shape", "dtype", "axes", "fan_in", "fan_out", "initializer", "std", "bytes", "notes")
BYTES = COLUMNS.index("bytes") - 1  # behind the name
_NUMBERS = ("fan_in", "fan_out", "std", "bytes")
NARROWEST = {"initializer": 20, "name": 16, "shape": 8, "axes": 4}  # the widths to which columns wrap, in this order


def rows(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Return a row for each tensor, which holds a row for each of its parts."""
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
    """Return the row of one weight, as it would be alone."""
    initializer, std = "", math.nan
    if piece.drawn is not None:
        initializer, std = _drawn(piece.drawn, piece.shape, piece.axes)
    if isinstance(piece.initializer, Addend):
        initializer = piece.initializer.worded([*map(_term, piece.initializer.terms)], initializer)
        std = std if piece.initializer.is_linear else math.nan
    elif not isinstance(piece.initializer, Initializer):
        initializer, std = "values", float(np.std(piece.initializer)) if piece.initializer.size else math.nan
    is_known = piece.axes != ROW_MAJOR and has_fans(piece.axes)
    fan_in, fan_out = fans(piece.shape, piece.axes) if is_known else (None, None)
    return {
        "name": piece.stream,
        "shape": piece.shape,
        "axes": None if piece.axes == ROW_MAJOR else piece.axes,
        "fan_in": fan_in,
        "fan_out": fan_out,
        "initializer": initializer,
        "std": None if math.isnan(std) else std,
    }


def _term(term: Term) -> str:
    """Return a term in words: old weights by the last component of the path."""
    if not isinstance(term, Loaded):
        return "values"
    source = term.source
    return term.text(
        str(FileSource(Path(source.path).name) if isinstance(source, FileSource) else source), f"{term.scale:.6g}"
    )


@lru_cache(maxsize=4096)
def _drawn(initializer: Initializer, shape: tuple[int, ...], axes: str) -> tuple[str, float]:
    """Return the initializer in words, and the std of its weights; NaN for a weight without elements."""
    return described(initializer), math.nan if 0 in shape else initializer.std(shape, axes)


def table(entries: Iterable[Entry], fold: bool, width: int | None = None) -> str:
    """Return the rows as aligned text of at most `width` characters.

    `fold` makes one row of those that differ in the numbers of their names; its bytes are those of all of them.
    """
    every = rows(entries)
    contents = [(row["name"], _cells(row)) for row in every]
    alike = ((name, tuple(tuple(map(unnumbered, row)) for row in cells)) for name, cells in contents)
    named = folded(alike) if fold else [(name, [place]) for place, (name, _) in enumerate(contents)]
    lines: list[tuple[str, ...]] = [COLUMNS]
    for name, places in named:
        same = zip(*(contents[place][1] for place in places), strict=True)
        first, *parts = [tuple(map(merged, zip(*rows, strict=True))) for rows in same]
        together = _text("bytes", sum(every[place]["bytes"] for place in places))
        lines.append((name, *first[:BYTES], together, *first[BYTES + 1 :]))
        lines += parts
    return "\n".join([*_aligned(lines, width), _total(every)])


def _cells(row: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Return the cells of a row without its name, then those of its parts."""
    before = row["stream"].rpartition(".")[0]
    names = [part["name"] for part in row["parts"]]
    while before and not all(name.startswith(before + ".") for name in names):
        before = before.rpartition(".")[0]
    start = len(before) + 1 if before else 0
    parts = [_texts(part) for part in row["parts"]]
    named = folded((name[start:], tuple(map(unnumbered, part))) for name, part in zip(names, parts, strict=True))
    texts = [
        ("  " + name, *map(merged, zip(*(parts[place] for place in places), strict=True))) for name, places in named
    ]
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


def _aligned(lines: list[tuple[str, ...]], most: int | None) -> list[str]:
    """Return the lines in columns; if they are longer than `most`, with notes below and long cells wrapped."""
    widths = {column: max(map(len, cells)) for column, cells in zip(COLUMNS, zip(*lines, strict=True), strict=True)}
    excess = 0 if most is None else sum(widths.values()) + 2 * (len(COLUMNS) - 1) - most
    below = excess > 0
    if below:
        excess -= widths.pop("notes") + 2
    for column, narrowest in NARROWEST.items():
        spared = min(max(excess, 0), max(widths[column] - narrowest, 0))
        widths[column] -= spared
        excess -= spared
    aligned = []
    for number, line in enumerate(lines):
        wrapped = [_wrapped(cell, width) for cell, width in zip(line, widths.values(), strict=not below)]
        for cells in zip_longest(*wrapped, fillvalue=""):
            columns = zip(cells, widths.items(), strict=True)
            texts = (cell.rjust(width) if name in _NUMBERS else cell.ljust(width) for cell, (name, width) in columns)
            aligned.append("  ".join(texts).rstrip())
        if below and line[-1] and number:
            indent = " " * 4
            aligned += textwrap.wrap(line[-1], most or 0, initial_indent=indent + "note: ", subsequent_indent=indent)
    return aligned


def _wrapped(cell: str, width: int) -> list[str]:
    """Return the cell in lines of the width, broken at spaces; a name, which has none, behind dots."""
    if len(cell) <= width:
        return [cell]
    indent = " " * (len(cell) - len(cell.lstrip()) + 2)
    if " " in cell.strip():
        return textwrap.wrap(cell, width, subsequent_indent=indent, break_on_hyphens=False)
    lines = [""]
    for component in re.split(r"(?<=[.])", cell):
        if len(lines[-1]) + len(component) > width:
            lines.append(indent)
        lines[-1] += component
    return [line for long in lines for line in textwrap.wrap(long, width, drop_whitespace=False)]


def _total(every: list[dict[str, Any]]) -> str:
    weights = sum(int(np.prod(row["shape"], dtype=object)) for row in every)
    return f"{len(every):,} parameters, {weights:,} weights, {sum(row['bytes'] for row in every):,} bytes"

"""Printed tables: cells and aligned columns, and the reports that print them."""

from collections.abc import Sequence
from typing import Any

from ..files.printable import escaped


class Report:
    """A report that prints as a table."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))  # for IPython


def number(value: float | None) -> str:
    """Return a number as a cell, "-" for None."""
    return "-" if value is None else f"{value:.3g}"


def size(shape: Sequence[int]) -> str:
    """Return a shape as a cell."""
    return "x".join(map(str, shape)) or "scalar"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as text in columns, two spaces apart, with control characters escaped."""
    heads, *rows = [[escaped(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in (heads, *rows))
    return "\n".join(line.rstrip() for line in lines)

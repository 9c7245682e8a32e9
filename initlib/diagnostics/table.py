"""Tables of text."""

from collections.abc import Sequence


def number(value: float | None) -> str:
    """A figure of a table."""
    return "-" if value is None else f"{value:.3g}"


def size(shape: Sequence[int]) -> str:
    """A shape of a table."""
    return "x".join(map(str, shape)) or "scalar"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Text in columns, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in (heads, *rows))
    return "\n".join(line.rstrip() for line in lines)

"""Figures of matplotlib, which is imported only when a picture is drawn."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(width: float, height: float) -> "Figure":
    """Return an empty figure of that size in inches, outside of pyplot: no window opens and no setting changes."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need the package matplotlib: pip install matplotlib") from None
    return Figure(figsize=(width, height), layout="constrained")

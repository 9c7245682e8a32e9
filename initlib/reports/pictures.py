"""The pictures of the reports: lines and fields that are told apart without colours too."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["phases"]

Array = NDArray[np.float64]


def figure(width: float, height: float) -> Any:
    """A matplotlib `Figure` that no window shows and that no setting of the caller's changes."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("a picture needs the package matplotlib: pip install matplotlib") from None
    return Figure(figsize=(width, height), layout="constrained")


def phases(weights: Array, biases: Array, rates: Array, name: str) -> Any:
    """The phase diagram of an activation: chi over the two variances, with the line where it is 1."""
    picture = figure(6.5, 4.5)
    from matplotlib.colors import BoundaryNorm
    from matplotlib.patheffects import withStroke

    axes = picture.subplots()
    unbounded = np.isinf(rates)
    shown = np.ma.masked_array(rates, unbounded)
    levels = [0, 0.25, 0.5, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 2, 3]
    norm = BoundaryNorm(levels, 256, extend="max")
    field = axes.contourf(weights, biases, shown, levels, cmap="cividis", norm=norm, extend="max")
    lines = axes.contour(weights, biases, shown, levels[1:], colors="black", linewidths=0.6)
    for label in axes.clabel(lines, fmt="%g", fontsize=8):
        label.set_rotation(0)
        label.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    if (shown < 1).any() and (shown > 1).any():
        axes.contour(weights, biases, shown, [1.0], colors="black", linewidths=2.5)
    if unbounded.any():
        axes.contourf(weights, biases, unbounded, [0.5, 1.5], colors="white", hatches=["//"])
    phase = {"ordered": rates < 1, "chaotic": (rates > 1) & ~unbounded, "grows without\nbound": unbounded}
    for text, where in phase.items():
        if where.mean() > 0.02:
            middle = np.median(weights[where]), np.median(biases[where])
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2}
            axes.text(*middle, text, ha="center", va="center", bbox=box)
    axes.set(
        xlabel="weight variance (fan_in times the variance of the weights)",
        ylabel="bias variance",
        title=f"{name}: how a small difference grows a layer",
    )
    picture.colorbar(field, label="chi", ticks=levels, format="%g")
    return picture

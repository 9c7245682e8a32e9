"""Style of the pictures: colours for all readers, markers and shades for prints without colours."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

# Colours of Okabe and Ito.
STYLES = {
    "zeros": {"color": "#555555", "marker": "s", "linestyle": "-"},
    "ones": {"color": "#CC79A7", "marker": "D", "linestyle": "-"},
    "small": {"color": "#CC79A7", "marker": "v", "linestyle": "-"},
    "large": {"color": "#D55E00", "marker": "X", "linestyle": "-"},
    "Glorot": {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    "He": {"color": "#009E73", "marker": "^", "linestyle": "-"},
}
CLASSES = ("#E69F00", "#0072B2")  # of points in the plane, one light and one dark
REGIONS = ListedColormap(["#FBE3B5", "#A9CBE5"])  # the same, washed out: light and darker on paper too


def new_figure(title: str, width: float, height: float) -> Figure:
    """Return a figure in which nothing is cut off."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title)
    return figure


def band(axes: Axes, x: Sequence[float] | np.ndarray, values: np.ndarray, name: str, label: str | None = None) -> None:
    """Draw the median over the rows of `values`, and the band of the middle 80%."""
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9], axis=0)
    style = STYLES[name]
    axes.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)
    number = list(STYLES).index(name)
    every = max(1, len(middle) // 8)
    axes.plot(x, middle, label=label or name, markevery=(every * number // len(STYLES), every), markersize=5, **style)


def plane(x: np.ndarray, size: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a grid around points (n, 2): its two coordinates, and its points as (size², 2)."""
    (left, bottom), (right, top) = x.min(axis=0) - 0.3, x.max(axis=0) + 0.3
    across, up = np.meshgrid(np.linspace(left, right, size), np.linspace(bottom, top, size))
    return across, up, np.column_stack([across.ravel(), up.ravel()])


def regions(axes: Axes, probability: np.ndarray, x: np.ndarray, y: np.ndarray, title: str) -> None:
    """Draw the region in which class 1 is likelier, by its probability on the `plane`, and the points."""
    across, up, _ = plane(x)
    likelier = (probability > 0.5).reshape(across.shape)
    axes.pcolormesh(across, up, likelier, cmap=REGIONS, vmin=0, vmax=1, shading="nearest", rasterized=True)
    if 0.005 < likelier.mean() < 0.995:
        axes.contour(across, up, probability.reshape(across.shape), levels=[0.5], colors="black", linewidths=1.5)
    for label, (colour, marker) in enumerate(zip(CLASSES, "o^", strict=True)):
        axes.scatter(*x[y == label].T, c=colour, marker=marker, s=12, edgecolors="black", linewidths=0.3)
    axes.set(aspect="equal", title=title, xticks=[], yticks=[])

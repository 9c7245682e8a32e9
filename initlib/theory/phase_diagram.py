"""Phase diagram of an activation: chi over the weight variance and the bias variance."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._arguments import positive
from .._figure import figure
from ..quadrature import Array
from .layer_maps import SAME, START, Activation, Layer, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS = [0, 0.25, 0.5, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 2, 3]


def phase_diagram(
    activation: Activation,
    *,
    weight_variance: tuple[float, float] = (0.0, 4.0),
    bias_variance: tuple[float, float] = (0.0, 0.5),
    **parameters: Value,
) -> "Figure":
    """Draw chi over the weight variance and the bias variance.

    The line of chi = 1 separates the ordered phase, in which gradients vanish, from the chaotic phase, in which they
    explode.

    Args:
        activation: the name of an activation, or a function of NumPy arrays.
        weight_variance: the range of the horizontal axis, the lower end first.
        bias_variance: the range of the vertical axis, the lower end first.
        **parameters: the parameters of a named activation, such as `slope`.

    Returns:
        A matplotlib `Figure`.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: a range is not a pair of numbers, the lower end first.

    Example:
        >>> figure = phase_diagram("tanh", bias_variance=(0.0, 0.2))  # doctest: +SKIP
        >>> figure.savefig("phases.png")  # doctest: +SKIP

    Reference:
        Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli. Exponential expressivity in deep neural networks through
        transient chaos. 2016. arXiv:1606.05340.
    """
    layer = Layer(activation, 1.0, 0.0, parameters)
    ranges = []
    for given, argument in ((weight_variance, "weight_variance"), (bias_variance, "bias_variance")):
        low, high = (positive(end, argument, or_zero=True) for end in given)
        if not low < high:
            raise ValueError(f"{argument} must be a range, the lower end first, got {given!r}")
        ranges.append(np.linspace(low, high, 121))
    weights, biases = np.meshgrid(*ranges)
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", "the activation")
    return _picture(weights, biases, _rates(layer, weights, biases), name)


def _rates(layer: Layer, weights: Array, biases: Array) -> Array:
    """Return chi at many variances, from one table of lengths; infinite where lengths grow without bound."""
    q = np.geomspace(1e-6, 1e6, 241)
    square, slope = (np.array([measure(float(length)) for length in q]) for measure in (layer.square, layer.slope))
    with np.errstate(divide="ignore"):
        growth = np.log(weights[..., None] * square + biases[..., None]) - np.log(q)
    start, grows = int(np.searchsorted(q, START)), growth > SAME
    # The fixed point lies between two lengths of the table: above, before the first that does not grow; below, after
    # the first that does.
    low = np.where(
        grows[..., start], start - 1 + (~grows[..., start:]).argmax(-1), start - grows[..., start::-1].argmax(-1)
    )
    unbounded, vanishing = grows[..., start:].all(-1), ~grows[..., : start + 1].any(-1)
    low = np.where(vanishing, 0, np.minimum(low, q.size - 2))
    before, after = (np.take_along_axis(growth, at[..., None], -1)[..., 0] for at in (low, low + 1))
    with np.errstate(all="ignore"):
        share = np.where(vanishing, 0.0, before / (before - after))
    return np.where(unbounded, np.inf, weights * (slope[low] + share * (slope[low + 1] - slope[low])))


def _picture(weights: Array, biases: Array, rates: Array, name: str) -> "Figure":
    picture = figure(6.5, 4.5)
    from matplotlib.colors import BoundaryNorm
    from matplotlib.patheffects import withStroke

    axes = picture.subplots()
    unbounded = np.isinf(rates)
    shown = np.ma.masked_array(rates, unbounded)
    norm = BoundaryNorm(LEVELS, 256, extend="max")
    field = axes.contourf(weights, biases, shown, LEVELS, cmap="cividis", norm=norm, extend="max")
    lines = axes.contour(weights, biases, shown, LEVELS[1:], colors="black", linewidths=0.6)
    for label in axes.clabel(lines, fmt="%g", fontsize=8, manual=_label_places(lines.allsegs, biases)):
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
        title=f"{name}: growth of a small difference per layer",
    )
    picture.colorbar(field, label="chi", ticks=LEVELS, format="%g")
    return picture


def _label_places(segments: Sequence[Sequence[Array]], biases: Array) -> list[tuple[float, float]]:
    """Return one place on each line for its label, away from the edges and, by turns, at two heights."""
    heights = biases.min() + np.ptp(biases) * np.array([0.85, 0.68])
    places: list[tuple[float, float]] = []
    for lines in segments:
        points = np.concatenate([*lines, np.empty((0, 2))])
        if len(points):
            x, y = points[np.abs(points[:, 1] - heights[len(places) % 2]).argmin()]
            places.append((float(x), float(y)))
    return places

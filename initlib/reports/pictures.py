"""The pictures of the reports: lines and fields that are told apart without colours too."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["phases", "signals"]

Array = NDArray[np.float64]

# Colours of Okabe and Ito, which colour-blind readers tell apart; markers and dashes for a print without colours.
STYLES = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", "-."),
    ("#CC79A7", "D", ":"),
    ("#E69F00", "v", "-"),
    ("#56B4E9", "P", "--"),
    ("#000000", "X", "-."),
)
NAMED = 16  # layers up to which each has its name below the picture
MARKS = 24  # markers on a line


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


def signals(reports: Mapping[str, Sequence[Any]], predicted: Mapping[str, Sequence[float]]) -> Any:
    """The std of the activations and of their gradients over depth, a line a report, and the predicted stds."""
    picture = figure(8.0, 6.5)
    forward, backward = picture.subplots(2, 1, sharex=True)
    longest = max(reports.values(), key=len)
    for axes, field in ((forward, "std"), (backward, "gradient_std")):
        lines = {label: np.array([_height(getattr(row, field)) for row in rows]) for label, rows in reports.items()}
        expected = {label: np.asarray(stds, np.float64) for label, stds in predicted.items()} if field == "std" else {}
        _over_depth(axes, lines, expected)
    forward.set(ylabel="std of the activations")
    forward.set_title("Signals forward", loc="left")
    backward.set_title("Signals backward", loc="left")
    backward.set(ylabel="std of their gradients", xlabel="layer, in the order of execution")
    if len(longest) <= NAMED:
        backward.set_xticks(range(1, len(longest) + 1), [row.name for row in longest], rotation=45, ha="right")
    if len(reports) + len(predicted) > 1:
        picture.legend(*forward.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return picture


def _height(value: float | None) -> float:
    """What is no number because it overflowed is drawn as infinite; what was not measured is not drawn."""
    return np.nan if value is None else np.inf if np.isnan(value) else value


def _over_depth(axes: Any, lines: Mapping[str, Array], predicted: Mapping[str, Array]) -> None:
    """Lines on a logarithmic axis; what is 0 or not finite stands at its edges, and is said to."""
    values = np.concatenate([*lines.values(), *predicted.values()])
    logs = np.log10(values[np.isfinite(values) & (values > 0)])
    low, high = (logs.min(), logs.max()) if logs.size else (-1.0, 1.0)
    # At least a decade, so that what changes by a few percent looks as it is: flat.
    room = max(0.55 * (high - low), 0.5) * 1.05
    bottom, top = ((low + high) / 2 - room, (low + high) / 2 + room)

    def shown(line: Array) -> Array:
        with np.errstate(divide="ignore"):
            return 10 ** np.clip(np.log10(line), bottom, top)

    for number, (label, line) in enumerate(lines.items()):
        colour, marker, dashes = STYLES[number % len(STYLES)]
        every = max(1, len(line) // MARKS)
        start = number * every // max(len(lines), 1)  # where lines coincide, their markers do not
        style: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": dashes, "ms": 5, "label": label}
        axes.plot(range(1, len(line) + 1), shown(line), markevery=(start, every), **style)
    for number, (label, line) in enumerate(predicted.items()):
        dots = (0, (1 + 2 * number, 1.5))
        style = {"color": "black", "linestyle": dots, "lw": 1.6, "label": f"predicted, {label}"}
        axes.plot(range(1, len(line) + 1), shown(line), **style)
    axes.set_yscale("log")
    axes.set_ylim(10 ** (bottom - 0.04 * room), 10 ** (top + 0.04 * room))
    notes = ["at the lower edge: 0"] * bool((values == 0).any())
    notes += ["at the upper edge: not finite"] * bool(np.isinf(values).any())
    axes.set_title("; ".join(notes), loc="right", fontsize=9)
    axes.grid(alpha=0.3)

"""The pictures of the reports: lines and fields that are told apart without colours too."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
COLUMNS = 4  # panels beside one another


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
        title=f"{name}: how a small difference grows a layer",
    )
    picture.colorbar(field, label="chi", ticks=levels, format="%g")
    return picture


def _label_places(segments: Sequence[Sequence[Array]], biases: Array) -> list[tuple[float, float]]:
    """A place on each line for its label: away from the edges, and beside its neighbours' at another height."""
    heights = biases.min() + np.ptp(biases) * np.array([0.85, 0.68])
    places: list[tuple[float, float]] = []
    for lines in segments:
        points = np.concatenate([*lines, np.empty((0, 2))])
        if len(points):
            x, y = points[np.abs(points[:, 1] - heights[len(places) % 2]).argmin()]
            places.append((float(x), float(y)))
    return places


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


def coordinates(
    widths: Sequence[int], steps: Sequence[Mapping[str, Sequence[float]]], slopes: Mapping[str, str]
) -> Any:
    """Mean sizes over width, a panel for each step and a line for each activation; `slopes` are named beside them."""
    rows = -(-len(steps) // COLUMNS)
    columns = -(-len(steps) // rows)
    picture = figure(3.2 * columns + 2.6, 3.2 * rows)
    from matplotlib.ticker import FormatStrFormatter, LogLocator

    panels = picture.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(steps) :]:
        axes.set_axis_off()
    named = list(slopes)[: len(STYLES)]
    for step, (axes, lines) in enumerate(zip(panels.flat, steps, strict=False)):
        for name, line in lines.items():
            sizes = np.array(line, np.float64)
            sizes[~(np.isfinite(sizes) & (sizes > 0))] = np.nan
            if name in named:
                colour, marker, dashes = STYLES[named.index(name)]
                axes.plot(widths, sizes, color=colour, marker=marker, linestyle=dashes, ms=5, label=slopes[name])
            else:
                axes.plot(widths, sizes, color="0.65", lw=0.8, zorder=1)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(widths, [str(width) for width in widths], rotation=45)
        axes.tick_params(labelbottom=True)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.set_title("at initialization" if step == 0 else f"after {step} step{'s' * (step > 1)}", fontsize=10)
    for axes in panels[:, 0]:
        axes.set_ylabel("mean |x|")
    for axes in panels.flat[max(0, len(steps) - columns) : len(steps)]:
        axes.set_xlabel("width")
    handles, labels = panels.flat[0].get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda k: list(slopes.values()).index(labels[k]))
    title = "greatest slope of log mean |x|\nby log width" + ("; others grey" if len(slopes) > len(named) else "")
    picture.legend([handles[k] for k in order], [labels[k] for k in order], loc="outside right upper", title=title)
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

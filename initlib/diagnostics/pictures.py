"""Pictures of reports, readable without colours too."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._figure import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .measurements import Activation

Array = NDArray[np.float64]

# The colours of Okabe and Ito suit colour-blind readers; markers and dashes serve prints without colours.
STYLES = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", "-."),
    ("#CC79A7", "D", ":"),
    ("#E69F00", "v", "-"),
    ("#56B4E9", "P", "--"),
    ("#000000", "X", "-."),
)
NAMED = 16  # the most layers whose names stand below the picture
MARKS = 24  # markers on a line
COLUMNS = 4  # panels beside one another


def signals(reports: Mapping[str, "Sequence[Activation]"], predicted: Mapping[str, Sequence[float]]) -> "Figure":
    """Draw the std of activations and gradients over depth, one line for each report, and the predicted stds."""
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
) -> "Figure":
    """Draw mean sizes over width: a panel for each step, a line for each activation, and `slopes` as the legend."""
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
    """Return the height of a value: infinite for NaN, which comes from an overflow, and NaN where not measured."""
    return np.nan if value is None else np.inf if np.isnan(value) else value


def _over_depth(axes: "Axes", lines: Mapping[str, Array], predicted: Mapping[str, Array]) -> None:
    """Draw lines on a logarithmic axis; zeros and infinities stand at its edges, and a note explains them."""
    values = np.concatenate([*lines.values(), *predicted.values()])
    logs = np.log10(values[np.isfinite(values) & (values > 0)])
    low, high = (logs.min(), logs.max()) if logs.size else (-1.0, 1.0)
    # At least a decade, so that changes of a few percent look flat.
    room = max(0.55 * (high - low), 0.5) * 1.05
    bottom, top = ((low + high) / 2 - room, (low + high) / 2 + room)

    def shown(line: Array) -> Array:
        with np.errstate(divide="ignore"):
            return 10 ** np.clip(np.log10(line), bottom, top)

    for number, (label, line) in enumerate(lines.items()):
        colour, marker, dashes = STYLES[number % len(STYLES)]
        every = max(1, len(line) // MARKS)
        start = number * every // max(len(lines), 1)  # the markers of lines that coincide do not
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

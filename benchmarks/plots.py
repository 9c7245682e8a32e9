"""Pictures of the results."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from . import peers
from .sections import Results

COLOURS = {
    peers.OURS: "#0b6e4f",
    peers.TORCH: "#d1495b",
    peers.KERAS: "#edae49",
    peers.JAX_JIT: "#3066be",
    peers.JAX: "#9ab7e6",
    peers.NUMPY: "#7d5ba6",
    peers.FLOOR: "#9e9e9e",
}
STYLE = {
    "svg.hashsalt": "initlib",  # the same picture for the same numbers
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def _save(figure: plt.Figure, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def growth(results: Results, path: Path) -> None:
    """Draw seconds over the number of weights, both on logarithmic axes."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7.5, 4.6))
        sizes = [int(size) for size in results]
        ends = []
        for peer in next(iter(results.values())):
            seconds = [case[peer] for case in results.values()]
            floor = {"ls": "--", "lw": 1.2} if peer == peers.FLOOR else {"lw": 2, "marker": "o", "ms": 3}
            axes.loglog(sizes, seconds, color=COLOURS[peer], **floor)
            ends.append((seconds[-1], peer))
        # Labels at the lines' ends, pushed apart where the lines are close.
        lowest = 0.0
        for seconds, peer in sorted(ends):
            lowest = max(seconds, lowest * 2.4)
            axes.annotate(
                peer, (sizes[-1], seconds), (sizes[-1] * 1.5, lowest), color=COLOURS[peer], va="center", fontsize=9
            )
        axes.set(xlabel="weights", ylabel="seconds a draw", title="he_normal, float32: time over size")
        axes.set_xscale("log", base=2)
        axes.grid(alpha=0.25)
        _save(figure, path)


def ratios(results: Results, path: Path, title: str) -> None:
    """Draw the time of each peer relative to initlib, for each case, on a logarithmic axis."""
    with plt.rc_context(STYLE):
        rows = [
            (case, peer) for case, of in results.items() for peer in of if peer not in (peers.OURS, peers.REFERENCE)
        ]
        figure, axes = plt.subplots(figsize=(7.5, 0.24 * len(rows) + 0.34 * len(results) + 0.8))
        y, ticks = 0.0, []
        for case, of in results.items():
            axes.text(-0.235, y, case, transform=axes.get_yaxis_transform(), fontweight="bold", fontsize=9, va="center")
            y += 1
            for peer, seconds in of.items():
                if (case, peer) not in rows:
                    continue
                ratio = seconds / of[peers.OURS]
                axes.barh(y, ratio - 1, left=1, height=0.8, color=COLOURS[peer])
                text = f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"
                axes.annotate(text, (max(ratio, 1), y), (3, 0), textcoords="offset points", va="center", fontsize=8)
                ticks.append((y, peer))
                y += 1
            y += 0.4
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.axvline(1, color=COLOURS[peers.OURS], lw=1.5)
        axes.set_yticks([at for at, _ in ticks], [peer for _, peer in ticks], fontsize=8)
        axes.set(ylim=(y, -1), xlabel="times as long as initlib (1, the green line)", title=title)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        _save(figure, path)

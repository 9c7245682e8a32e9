"""What every experiment shares: a record of what it found, the colours of its pictures, the machine it ran on."""

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

import initlib

# Colours of Okabe and Ito, told apart by colour-blind readers too; markers for a print without colours.
STYLES = {
    "zeros": {"color": "#555555", "marker": "s"},
    "ones": {"color": "#CC79A7", "marker": "D"},
    "large": {"color": "#D55E00", "marker": "X"},
    "Glorot": {"color": "#0072B2", "marker": "o"},
    "He": {"color": "#009E73", "marker": "^"},
}
CLASSES = ("#E69F00", "#56B4E9")  # of points in the plane
PACKAGES = ("numpy", "scikit-learn", "mlxtend", "keras", "tensorflow", "torch", "jax")


@dataclass
class Claim:
    """One statement, what was measured, and whether it holds."""

    statement: str
    measured: str
    holds: bool


@dataclass
class Lab:
    """Where one experiment runs, and the record of what it found, in Markdown and in the terminal."""

    name: str
    title: str
    quick: bool
    out: Path
    console: Console
    claims: list[Claim] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        """Record a paragraph."""
        self.console.print(sentence)
        self.text.append(sentence)

    def table(self, heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Record a table: its first column is words, the others numbers."""
        shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column, name in enumerate(heading):
            shown.add_column(name, justify="right" if column else "left", overflow="fold")
        for row in rows:
            shown.add_row(*row)
        self.console.print(shown)
        rule = ["---", *["---:"] * (len(heading) - 1)]
        self.text.append("\n".join("| " + " | ".join(row) + " |" for row in (heading, rule, *rows)))

    def claim(self, statement: str, measured: str, holds: bool | np.bool_) -> None:
        """Record whether a statement holds; one that does not fails the run, after the others have been looked at."""
        self.claims.append(Claim(statement, measured, bool(holds)))
        mark = "[green]holds[/]" if holds else "[bold red]FAILS[/]"
        self.console.print(f"{mark}  {statement}: {measured}", highlight=False)

    def picture(self, figure: Figure, what: str) -> None:
        """Save a picture; `what` it shows is for those who cannot see it."""
        path = self.out / "pictures" / f"{self.name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
        self.text.append(f"![{what}](pictures/{path.name})")

    @contextmanager
    def progress(self, total: int) -> Iterator[Callable[..., None]]:
        """A progress bar in the terminal, as the function that moves it on."""
        with Progress(console=self.console, transient=True) as progress:
            task = progress.add_task(self.name, total=total)
            yield partial(progress.advance, task)

    def markdown(self) -> str:
        """The section of the report."""
        rows = "\n".join(
            f"| {claim.statement} | {claim.measured} | {'yes' if claim.holds else '**no**'} |" for claim in self.claims
        )
        claims = f"| claim | measured | holds |\n| --- | --- | --- |\n{rows}"
        return "\n\n".join([f"## {self.name}: {self.title}", *self.text, claims])


def new_figure(title: str, width: float, height: float) -> Figure:
    """A figure in which nothing is cut off."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title)
    return figure


def plot_curves(axes: Axes, curves: dict[str, Sequence[float]], step: int = 1) -> None:
    """Curves over the epochs, a value every `step`; their markers stand apart where the curves coincide."""
    for number, (name, values) in enumerate(curves.items()):
        every = max(1, len(values) // 6)
        marks = (every * number // len(curves), every)
        epochs = range(1, 1 + step * len(values), step)
        axes.plot(epochs, values, label=name, markevery=marks, **STYLES[name])
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(alpha=0.3)


def plot_regions(
    figure: Figure,
    grid: Sequence[Axes],
    predictions: dict[str, Callable[[np.ndarray], np.ndarray]],
    x: np.ndarray,
    y: np.ndarray,
) -> None:
    """The probability of class 1 that each prediction gives over the plane, and the points of both classes."""
    (left, bottom), (right, top) = x.min(axis=0) - 0.3, x.max(axis=0) + 0.3
    across, up = np.meshgrid(np.linspace(left, right, 120), np.linspace(bottom, top, 120))
    plane = np.column_stack([across.ravel(), up.ravel()])
    for axes, (title, predict) in zip(grid, predictions.items(), strict=True):
        probability = predict(plane).reshape(across.shape)
        shades = axes.contourf(across, up, probability, levels=np.linspace(0, 1, 11), cmap="cividis", alpha=0.6)
        if probability.min() < 0.5 < probability.max():
            axes.contour(across, up, probability, levels=[0.5], colors="black", linewidths=1.5)
        for label, (colour, marker) in enumerate(zip(CLASSES, "o^", strict=True)):
            points = x[y == label]
            axes.scatter(*points.T, c=colour, marker=marker, s=14, edgecolors="black", linewidths=0.4)
        axes.set(xlabel="x1", ylabel="x2", aspect="equal", title=title)
    figure.colorbar(shades, ax=list(grid), label="probability of class 1", shrink=0.8)


def machine() -> str:
    """The processor and the versions that a report states."""
    model = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    versions = [f"Python {platform.python_version()}", f"initlib {initlib.__version__}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return f"{model}, {os.cpu_count()} cores; {', '.join(versions)}"

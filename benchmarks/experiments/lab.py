"""Results of an experiment: numbers and tables to quote, claims, and pictures."""

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import Progress

import initlib

PACKAGES = ("numpy", "scikit-learn", "mlxtend", "keras", "tensorflow", "torch", "jax")


@dataclass
class Claim:
    """A statement, the measured figure, and whether the statement holds."""

    statement: str
    measured: str
    holds: bool


@dataclass
class Lab:
    """Environment of one experiment, and the record of its results."""

    name: str
    quick: bool
    out: Path
    console: Console
    quoted: dict[str, str] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)

    def quote(self, **figures: Any) -> None:
        """Record figures as text, under the names that the page uses to quote them."""
        for name, value in figures.items():
            if name in self.quoted:
                raise ValueError(f"{self.name} quotes {name} twice")
            self.quoted[name] = str(value)
            if "\n" not in self.quoted[name]:
                self.console.print(f"{name}: {value}", highlight=False, markup=False, soft_wrap=True)

    def table(self, name: str, heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Record a table with words in the first column and numbers in the others."""
        rule = ["---", *["---:"] * (len(heading) - 1)]
        text = "\n".join("| " + " | ".join(row) + " |" for row in (heading, rule, *rows))
        self.quote(**{name: text})
        self.console.print(Markdown(text))

    def claim(self, statement: str, measured: str, holds: bool | np.bool_) -> None:
        """Record whether a statement holds. A false statement fails the run at the end."""
        self.claims.append(Claim(statement, measured, bool(holds)))
        mark = "[green]holds[/]" if holds else "[bold red]FAILS[/]"
        self.console.print(f"{mark}  {statement}: {measured}", highlight=False, soft_wrap=True)

    def picture(self, figure: Figure, suffix: str = "") -> None:
        """Save a picture: `pictures/NAME.png`, or `NAMEsuffix.png`."""
        path = self.out / "pictures" / f"{self.name}{suffix}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)

    @contextmanager
    def progress(self, total: int) -> Iterator[Callable[..., None]]:
        """Show a progress bar; the value is the function that advances it."""
        with Progress(console=self.console, transient=True) as progress:
            task = progress.add_task(self.name, total=total)
            yield partial(progress.advance, task)


def spread(values: Sequence[float] | np.ndarray, form: str) -> str:
    """Return the median of values and, in brackets, the least and the greatest."""
    middle, low, high = np.median(values), np.min(values), np.max(values)
    return f"{middle:{form}} [{low:{form}}, {high:{form}}]"


def machine() -> str:
    """Return the processor and the versions for a report."""
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

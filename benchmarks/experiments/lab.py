"""What an experiment hands over: figures and tables to quote, claims that hold or not, and pictures."""

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
    """One statement, what was measured, and whether it holds."""

    statement: str
    measured: str
    holds: bool


@dataclass
class Lab:
    """Where one experiment runs, and the record of what it found."""

    name: str
    quick: bool
    out: Path
    console: Console
    quoted: dict[str, str] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)

    def quote(self, **figures: Any) -> None:
        """Record figures under the names that the page quotes them by: as text, in the digits that it shows."""
        for name, value in figures.items():
            if name in self.quoted:
                raise ValueError(f"{self.name} quotes {name} twice")
            self.quoted[name] = str(value)
            if "\n" not in self.quoted[name]:
                self.console.print(f"{name}: {value}", highlight=False, markup=False, soft_wrap=True)

    def table(self, name: str, heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Record a table: its first column is words, the others numbers."""
        rule = ["---", *["---:"] * (len(heading) - 1)]
        text = "\n".join("| " + " | ".join(row) + " |" for row in (heading, rule, *rows))
        self.quote(**{name: text})
        self.console.print(Markdown(text))

    def claim(self, statement: str, measured: str, holds: bool | np.bool_) -> None:
        """Record whether a statement holds; one that does not fails the run, after the others have been looked at."""
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
        """A progress bar in the terminal, as the function that moves it on."""
        with Progress(console=self.console, transient=True) as progress:
            task = progress.add_task(self.name, total=total)
            yield partial(progress.advance, task)


def spread(values: Sequence[float] | np.ndarray, form: str) -> str:
    """The median of some values and, in brackets, their least and greatest."""
    middle, low, high = np.median(values), np.min(values), np.max(values)
    return f"{middle:{form}} [{low:{form}}, {high:{form}}]"


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

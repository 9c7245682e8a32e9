"""`python -m benchmarks`: measure, print the tables, and write RESULTS.md, results.json and the pictures."""

import argparse
import importlib.metadata
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

import initlib

from . import plots, report, sections, targets
from .disk import disk
from .instructions import instructions
from .many_tensors import many_tensors
from .networks import construction, networks
from .planning import planning

HERE = Path(__file__).parent
# For the peers, which are imported when they first draw, and for the processes that are started.
ENVIRON = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
    "JAX_PLATFORMS": "cpu",
}
MEASURED = {
    section.__name__: section
    for section in (*sections.SECTIONS, networks, construction, many_tensors, planning, disk, instructions)
}


def machine() -> dict[str, Any]:
    """Return the processor, the memory and the versions of this run."""
    names = [line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    kernel = initlib.stream.config.kernel
    packages = ("numpy", "torch", "tensorflow", "keras", "jax")
    return {
        "processor": f"{os.cpu_count()} x {names[0] if names else platform.processor()}, {platform.machine()}",
        "memory": f"{memory[0] / 2**20:.0f} GiB" if memory else "",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "initlib": f"{initlib.__version__}, {kernel.paths()[initlib.stream.config.path] if kernel else 'reference'}",
        "threads": initlib.get_num_threads(),
        "peers": ", ".join(f"{name} {_version(name)}" for name in packages if _version(name)),
    }


def _others(processor_seconds: float, seconds: float) -> str:
    return (
        f"kept {max(0.0, processor_seconds) / seconds:.2f} processors busy during the {seconds:.0f} s of the last run"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=MEASURED, help="these sections; the others keep their last figures"
    )
    parser.add_argument("--full", action="store_true", help="growth up to 2**30 weights: some 20 GB of memory")
    parser.add_argument("--out", type=Path, default=HERE, help="the folder to write to")
    arguments = parser.parse_args()
    os.environ.update(ENVIRON)
    stored = arguments.out / "results.json"
    results = json.loads(stored.read_text())["results"] if arguments.only and stored.exists() else {}
    console = Console()
    arguments.out.mkdir(parents=True, exist_ok=True)
    before, load, began = sections.processor_seconds(), sections.load(), time.perf_counter()
    data: dict[str, Any] = {}
    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress:
        for name in arguments.only or MEASURED:
            task = progress.add_task(name, total=1)
            results[name] = MEASURED[name](arguments.full)
            progress.update(task, completed=1)
            seconds = time.perf_counter() - began
            own, all_ = (after - start for after, start in zip(sections.processor_seconds(), before, strict=True))
            data = {
                "machine": {
                    **machine(),
                    "load at the start": load,
                    "other programs": _others(all_ - own, seconds),
                },
                "results": {name: results[name] for name in MEASURED if name in results},
                "targets": targets.check(results),
            }
            stored.write_text(json.dumps(data, indent=1) + "\n")  # after each: a run that is stopped keeps the rest
    (arguments.out / "RESULTS.md").write_text(report.page(data))
    draw_pictures(results, arguments.out / "pictures")
    show(data, console)


def draw_pictures(results: dict[str, Any], folder: Path, suffix: str = ".svg") -> None:
    folder.mkdir(exist_ok=True)
    if "growth" in results:
        plots.growth(results["growth"], folder / f"growth{suffix}")
    for name, title in (
        ("in_place", "One weight, in place"),
        ("fresh", "One weight, in fresh memory"),
        ("models", "The weight matrices of whole models"),
    ):
        if name in results:
            plots.ratios(results[name], folder / f"{name}{suffix}", title)


def show(data: dict[str, Any], console: Console) -> None:
    """Print the machine and the targets."""
    for key, value in data["machine"].items():
        console.print(f"[bold]{key}[/]: {value}", highlight=False)
    table = Table("draw", "against", "target", "measured", "holds")
    for *cells, holds in data["targets"]:
        table.add_row(*cells, "[green]yes" if holds else "[red]no")
    console.print(table)


if __name__ == "__main__":
    main()

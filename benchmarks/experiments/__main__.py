"""Run the classic experiments, print what they found, and write the report."""

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from .common import Lab, machine

NAMES = ("mnist_convnet", "moons_numpy", "circles_keras", "tanh_layer", "formulas")
HOME = Path(__file__).parents[1]  # where the report of the full set lives


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiments of those names; 0 if every claim holds, else 1."""
    parser = argparse.ArgumentParser("python -m benchmarks.experiments", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="less data, fewer epochs and one seed: under a minute")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where EXPERIMENTS.md and pictures/ go (default: benchmarks for the full set, else build/experiments)",
    )
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in NAMES:
            parser.error(f"NAME must be of {', '.join(NAMES)}, got {name!r}")
    names = [name for name in NAMES if name in options.names] or list(NAMES)
    full = names == list(NAMES) and not options.quick
    out = options.out or (HOME if full else HOME.parent / "build" / "experiments")
    out.mkdir(parents=True, exist_ok=True)

    console = Console(width=None if sys.stdout.isatty() else 100)
    labs, started, worked = [], time.perf_counter(), time.process_time()
    for name in names:
        try:
            module = importlib.import_module(f".{name}", __package__)
        except ModuleNotFoundError as error:
            parser.error(f'{name} needs {error.name}: pip install -e ".[experiments]"')
        lab = Lab(name, module.__doc__.strip().splitlines()[0], options.quick, out, console)
        console.rule(f"{name}: {lab.title}")
        module.run(lab)
        labs.append(lab)
    report = out / "EXPERIMENTS.md"
    spent = time.perf_counter() - started, time.process_time() - worked
    report.write_text(_report(labs, options.quick, *spent), encoding="utf-8")
    failed = [(lab.name, claim) for lab in labs for claim in lab.claims if not claim.holds]
    console.print(f"{sum(len(lab.claims) for lab in labs)} claims, {len(failed)} fail; wrote {report}", soft_wrap=True)
    for name, claim in failed:
        console.print(f"FAILS  {name}: {claim.statement}: {claim.measured}", style="red", soft_wrap=True)
    return 1 if failed else 0


def _report(labs: Sequence[Lab], quick: bool, seconds: float, worked: float) -> str:
    count = sum(len(lab.claims) for lab in labs)
    held = sum(claim.holds for lab in labs for claim in lab.claims)
    names = [] if len(labs) == len(NAMES) else [lab.name for lab in labs]
    command = " ".join(["python -m benchmarks.experiments", *names, *(["--quick"] if quick else [])])
    head = [
        "# The classic experiments",
        f"Written by `{command}` in {seconds:.0f} s ({worked:.0f} s of processor time, all cores together). "
        f"{held} of {count} claims hold.",
        f"Machine and versions: {machine()}.",
    ]
    return "\n\n".join([*head, *(lab.markdown() for lab in labs)]) + "\n"


if __name__ == "__main__":
    sys.exit(main())

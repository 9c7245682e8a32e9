"""Run the classic experiments, and write experiments.json, EXPERIMENTS.md and pictures."""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from . import NAMES, report
from .lab import Lab, machine

HOME = Path(__file__).parents[1]  # where the report of the full set lives


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named experiments. Return 0 if every claim holds, else 1."""
    parser = argparse.ArgumentParser("python -m benchmarks.experiments", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="few seeds and epochs, under a minute: build/experiments")
    parser.add_argument(
        "--page", action="store_true", help="write EXPERIMENTS.md anew from experiments.json, run nothing"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where the results go (default: benchmarks, or build/experiments)"
    )
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in NAMES:
            parser.error(f"NAME must be of {', '.join(NAMES)}, got {name!r}")
    out = options.out or (HOME.parent / "build" / "experiments" if options.quick else HOME)
    out.mkdir(parents=True, exist_ok=True)
    stored = out / "experiments.json"
    console = Console(width=None if sys.stdout.isatty() else 120)
    if not options.page:
        labs = _run(options.names or NAMES, options.quick, out, console, parser)
        _store(stored, labs, options.quick)
    run = json.loads(stored.read_text(encoding="utf-8"))
    (out / "EXPERIMENTS.md").write_text(report.page(run), encoding="utf-8")
    claims = [(name, claim) for name, experiment in run["experiments"].items() for claim in experiment["claims"]]
    failed = [(name, claim) for name, claim in claims if not claim["holds"]]
    console.print(f"{len(claims)} claims, {len(failed)} fail; wrote {out / 'EXPERIMENTS.md'}", soft_wrap=True)
    for name, claim in failed:
        console.print(f"FAILS  {name}: {claim['statement']}: {claim['measured']}", style="red", soft_wrap=True)
    return 1 if failed else 0


def _run(
    names: Sequence[str], quick: bool, out: Path, console: Console, parser: argparse.ArgumentParser
) -> dict[str, tuple[Lab, float]]:
    labs = {}
    for name in names:
        try:
            module = importlib.import_module(f".{name}", __package__)
        except ModuleNotFoundError as error:
            parser.error(f'{name} needs {error.name}: pip install -e ".[experiments]"')
        console.rule(f"{name}: {module.__doc__.strip().splitlines()[0]}")
        lab, started = Lab(name, quick, out, console), time.process_time()
        module.run(lab)
        labs[name] = lab, time.process_time() - started
    return labs


def _store(path: Path, labs: dict[str, tuple[Lab, float]], quick: bool) -> None:
    """Store the results, with those of other experiments from an earlier run of the same kind."""
    command = "python -m benchmarks.experiments" + (" --quick" if quick else "")
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    results = before["experiments"] if before.get("command") == command and before.get("machine") == machine() else {}
    for name, (lab, seconds) in labs.items():
        results[name] = {
            "seconds": round(seconds, 1),
            "quoted": lab.quoted,
            "claims": [asdict(claim) for claim in lab.claims],
        }
    results = {name: results[name] for name in NAMES if name in results}
    run = {
        "command": command,
        "machine": machine(),
        "seconds": round(sum(experiment["seconds"] for experiment in results.values()), 1),
        "experiments": results,
    }
    path.write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

"""Report: the pages of the experiments, filled with the numbers of a run."""

import re
from pathlib import Path
from typing import Any

PAGES = Path(__file__).parent / "pages"
PLACE = re.compile(r"\{\{ (\w+) \}\}")


def page(run: dict[str, Any]) -> str:
    """Return EXPERIMENTS.md of a run, as `experiments.json` stores it."""
    experiments = run["experiments"]
    claims = [claim for experiment in experiments.values() for claim in experiment["claims"]]
    held = sum(claim["holds"] for claim in claims)
    facts = {
        "command": run["command"],
        "machine": run["machine"],
        "seconds": f"{run['seconds']:.0f}",
        "held": str(held),
        "claims": str(len(claims)),
    }
    sections = [section(name, experiment) for name, experiment in experiments.items()]
    return "\n".join([filled("head", facts), *sections])


def section(name: str, experiment: dict[str, Any]) -> str:
    """Return the page of one experiment."""
    rows = [
        f"| {claim['statement']} | {claim['measured']} | {'yes' if claim['holds'] else '**no**'} |"
        for claim in experiment["claims"]
    ]
    claims = "\n".join(["| claim | measured | holds |", "| --- | --- | --- |", *rows])
    return filled(name, {**experiment["quoted"], "claims": claims})


def filled(name: str, quoted: dict[str, str]) -> str:
    """Return a page with its quotes filled in. Raise KeyError for a figure that was not recorded."""
    return PLACE.sub(lambda place: quoted[place[1]], (PAGES / f"{name}.md").read_text(encoding="utf-8"))

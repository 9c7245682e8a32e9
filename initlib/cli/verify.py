"""Compare a checkpoint with a plan and a seed: exit status 0 if they agree, 1 if they differ."""

import argparse
from pathlib import Path

import initlib

from .._progress import progress
from . import syntax


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the plan, the seed and the checkpoint."""
    syntax.add_plan(parser)
    parser.add_argument(
        "checkpoint", type=Path, metavar="PATH", help="a .safetensors file, an index, or a folder with one of them"
    )
    parser.add_argument("--all", action="store_true", help="compare every weight, not samples of each tensor")


def run(options: argparse.Namespace) -> int:
    """Print the differences, and their number."""
    plan = initlib.Plan.load(options.plan, sources=dict(options.sources))
    with progress("verifying") as advance:
        differences = plan.verify(options.checkpoint, options.seed, whole=options.all, progress=advance)
    for difference in differences:
        print(difference)
    compared = "every weight" if options.all else "samples of every tensor"
    what = f"{options.plan} with seed {options.seed}"
    if differences:
        print(f"{options.checkpoint} is not {what}: {len(differences)} difference{'s' * (len(differences) != 1)}")
        return 1
    print(f"{options.checkpoint} is {what}: {len(plan.entries):,} tensors, {compared} compared")
    return 0

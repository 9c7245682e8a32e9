"""Compare a checkpoint with what a plan and a seed are: exit status 0 if it is that, 1 if it is not."""

import argparse
from pathlib import Path

import initlib

from .._progress import progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The plan, the seed, and the checkpoint."""
    parser.add_argument("plan", type=Path, metavar="PLAN.json", help="what `initlib plan -o` saved")
    parser.add_argument("checkpoint", type=Path, metavar="PATH", help="a .safetensors, an index, or a folder with one")
    parser.add_argument("--seed", type=int, required=True, help="an int from 0 to 2**64 - 1")
    parser.add_argument("--all", action="store_true", help="compare every weight, not samples of each tensor")


def run(options: argparse.Namespace) -> int:
    """Print what differs, and whether something does."""
    plan = initlib.Plan.load(options.plan)
    with progress("verifying") as advance:
        found = plan.verify(options.checkpoint, options.seed, whole=options.all, progress=advance)
    for difference in found:
        print(difference)
    compared = "every weight" if options.all else "samples of every tensor"
    what = f"{options.plan} with seed {options.seed}"
    if found:
        print(f"{options.checkpoint} is not {what}: {len(found)} difference{'s' * (len(found) != 1)}")
        return 1
    print(f"{options.checkpoint} is {what}: {len(plan.entries):,} tensors, {compared} compared")
    return 0

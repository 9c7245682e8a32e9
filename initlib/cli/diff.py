"""Compare two plans: exit status 0 if both plans draw the same weights, 1 if they differ."""

import argparse
from pathlib import Path

import initlib


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two plans."""
    parser.add_argument("before", type=Path, metavar="A.json", help="a plan that `initlib plan -o` saved")
    parser.add_argument("after", type=Path, metavar="B.json", help="the plan to compare with A.json")


def run(options: argparse.Namespace) -> int:
    """Print the differences and return the exit status."""
    difference = initlib.Plan.load(options.before).diff(initlib.Plan.load(options.after))
    print(difference)
    return 1 if difference else 0

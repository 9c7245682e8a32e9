"""Write the checkpoint that a plan and a seed are; called again, go on with what is missing."""

import argparse
import time
from pathlib import Path

import initlib

from .._progress import progress
from . import syntax
from .plan import amount


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The plan, the seed, the folder, and how the files are cut."""
    parser.add_argument("plan", type=Path, metavar="PLAN.json", help="what `initlib plan -o` saved")
    parser.add_argument("--seed", type=int, required=True, help="an int from 0 to 2**64 - 1")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="where to write the files")
    parser.add_argument(
        "--max-shard-size", default="5GB", type=syntax.text, metavar="SIZE", help="of one file (default: %(default)s)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files of the same names that are others")
    parser.add_argument(
        "--only",
        type=syntax.files,
        metavar="START:STOP:STEP",
        help="the files that this process writes, counted from 0: 3::64 is the fourth of 64 processes",
    )


def run(options: argparse.Namespace) -> None:
    """Write, with a bar, and say what was written."""
    plan = initlib.Plan.load(options.plan)
    began = time.perf_counter()
    with progress("writing") as advance:
        written = plan.write(
            options.output,
            options.seed,
            max_shard_size=options.max_shard_size,
            overwrite=options.overwrite,
            only=options.only,
            progress=advance,
        )
    seconds = time.perf_counter() - began
    size = sum(path.stat().st_size for path in written)
    if written:
        files = f"{len(written)} file{'s' * (len(written) != 1)}"
        print(f"wrote {files}, {amount(size)}, to {options.output} in {seconds:.1f} s ({amount(size / seconds)}/s)")
    else:
        print(f"nothing to write: nothing is missing in {options.output}")

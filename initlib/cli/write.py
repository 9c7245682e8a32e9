"""Write the checkpoint of a plan and a seed. A repeated call writes the missing files."""

import argparse
import time
from pathlib import Path

import initlib

from .._progress import progress
from . import syntax
from .plan import amount


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the plan, the seed, the folder, and the sizes of the files."""
    syntax.add_plan(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="the folder of the files")
    parser.add_argument(
        "--max-shard-size",
        default="5GB",
        type=syntax.text,
        metavar="SIZE",
        help="the size of one file (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace other files of the same names")
    parser.add_argument(
        "--only",
        type=syntax.files,
        metavar="START:STOP:STEP",
        help="the files that this process writes, counted from 0: 3::64 is the fourth of 64 processes",
    )


def run(options: argparse.Namespace) -> None:
    """Write, with a progress bar, and print the result."""
    plan = initlib.Plan.load(options.plan, sources=dict(options.sources))
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
        print(f"nothing to write: {options.output} has all files")

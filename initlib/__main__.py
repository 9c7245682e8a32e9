"""The command line: `initlib`, or `python -m initlib`."""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import initlib

from .cli import audit, config, diff, draw, fans, plan, verify, write
from .plans.text.errors import PlanError

COMMANDS = (fans, draw, plan, diff, write, verify, audit, config)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    >>> main(["fans", "64x32x3x3", "--axes", "OIHW"])
    fan_in  288
    fan_out 576
    0

    It is 0; 1 where `verify` or `diff` finds a difference, or `audit` what it was to fail on; 2 for a mistake, which is
    one line on stderr, or one for each of a plan's problems; 130 for Ctrl-C; 141 where the reader of what it prints has
    left.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started us
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, *_: print(f"initlib: warning: {message}", file=sys.stderr)
            code: int | None = options.run(options)
            sys.stdout.flush()
    except (ImportError, MemoryError, OSError, OverflowError, RecursionError, TypeError, ValueError) as error:
        _leave_stdout()
        if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has had enough
            return 141
        lines = str(error) if isinstance(error, PlanError) else " ".join(str(error).split())
        print(f"initlib: {lines}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code or 0


def _leave_stdout() -> None:
    """What can't be printed must not fail once more when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("initlib", description=initlib.__doc__)
    parser.add_argument("--version", action="version", version=f"initlib {initlib.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        subparser = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    does = "Train a small network on real handwritten digits under four initializations."
    demo = commands.add_parser("demo", help=does, description=does)
    demo.add_argument("--seed", type=int, default=0, help="an int from 0 to 2**64 - 1 (default: 0)")
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("initlib-demo.png"),
        metavar="FILE",
        help="the picture to write (default: %(default)s)",
    )
    demo.set_defaults(run=_demo)
    return parser


def _demo(options: argparse.Namespace) -> None:
    """It stands here, for its own file imports what it draws with."""
    try:
        from .cli import demo
    except ModuleNotFoundError as error:
        raise ImportError(f'the demo needs {error.name}: pip install "initlib[demo]"') from None
    demo.run(options.out, seed=options.seed)


if __name__ == "__main__":
    sys.exit(main())

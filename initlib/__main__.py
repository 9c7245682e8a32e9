"""Command line: `initlib`, or `python -m initlib`."""

import argparse
import os
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import initlib

from .cli import audit, config, diff, draw, fans, plan, syntax, verify, write
from .files.printable import escaped
from .plans.text.errors import PlanError
from .plans.text.nearest import nearest

COMMANDS = (fans, draw, plan, diff, write, verify, audit, config)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    >>> main(["fans", "64x32x3x3", "--axes", "OIHW"])
    fan_in  288
    fan_out 576
    0

    The status is 0; 1 for a difference that `verify` or `diff` finds, or a finding of `audit --fail-on`; 2 for an
    error, which is one line on stderr, or a line for each problem of a plan; 130 for Ctrl-C; 141 where the reader of a
    pipe has left.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the parent process
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, *_: _complain(f"warning: {message}")
            code: int | None = options.run(options)
            sys.stdout.flush()
    except (ImportError, MemoryError, OSError, OverflowError, RecursionError, TypeError, ValueError) as error:
        _leave_stdout()
        if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has left
            return 141
        _complain(str(error) if isinstance(error, PlanError) else " ".join(str(error).split()))
        return 2
    except KeyboardInterrupt:
        return 130
    return code or 0


def _complain(message: str) -> None:
    """Print a message of the library on stderr, in the language of the command line."""
    lines = syntax.as_options(message).splitlines()
    print("initlib: " + "\n".join(map(escaped, lines)), file=sys.stderr)


def _leave_stdout() -> None:
    """Drop the output that cannot be printed, so that it does not fail again when Python ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """A parser whose error for an unknown command names the nearest command."""

    def error(self, message: str) -> NoReturn:
        choice = re.search(r"argument COMMAND: invalid choice: '([^']*)'", message)
        names = [*(command.__name__.rpartition(".")[2] for command in COMMANDS), "demo"]
        super().error(message + (nearest(choice[1], names, "commands") if choice else ""))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("initlib", description=initlib.__doc__)
    parser.add_argument("--version", action="version", version=f"initlib {initlib.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        subparser = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    purpose = "Train a small network on real handwritten digits under four initializations."
    demo = commands.add_parser("demo", help=purpose, description=purpose)
    demo.add_argument("--seed", type=int, default=0, help="an int from 0 to 2**64 - 1 (default: 0)")
    demo.add_argument("--out", type=Path, metavar="FILE", help="write a picture of the training, such as demo.png")
    demo.set_defaults(run=_demo)
    return parser


def _demo(options: argparse.Namespace) -> None:
    """Run the demo, whose file imports packages that the other commands do not need."""
    try:
        from .cli import demo
    except ModuleNotFoundError as error:
        raise ImportError(f'the demo needs {error.name}: pip install "initlib[demo]"') from None
    demo.run(options.out, seed=options.seed)


if __name__ == "__main__":
    sys.exit(main())

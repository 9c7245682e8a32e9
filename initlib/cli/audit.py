"""Measure every tensor of a file: figures, schemes, and what is wrong. Exit status 1 for what --fail-on names."""

import argparse
import json
import math
from pathlib import Path
from typing import Any

from ..diagnostics.audit.audit import FINDINGS, OTHER_ORDER, audit, check_findings
from ..files.printable import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The files, how to print, and what fails."""
    parser.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="a safetensors, an index or a folder of them, .npy, .npz, checkpoint of PyTorch, .keras or HDF5",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    parser.add_argument("--tests", action="store_true", help="print the tests behind each scheme, or behind none")
    parser.add_argument("--axes", choices=tuple(OTHER_ORDER), help="how weights are stored (default: by their names)")
    parser.add_argument(
        "--fail-on",
        type=_findings,
        default=(),
        metavar="FINDING,...",
        help="; ".join(f"{name}: {what}" for name, what in FINDINGS.items()),
    )


def _findings(text: str) -> tuple[str, ...]:
    try:
        return check_findings(tuple(filter(None, text.split(","))))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(options: argparse.Namespace) -> int:
    """Print the audit."""
    report = audit(options.files, axes=options.axes)
    if options.json:
        print(json.dumps(_finite(report.to_dicts()), indent=1))
    else:
        print(report)
        if options.tests:
            print()
            for tensor in report.tensors:
                print(f"{printable(tensor.name)}: {tensor.test}")
    return int(bool(options.fail_on and report.found(*options.fail_on)))


def _finite(value: Any) -> Any:
    """What JSON has no numbers for becomes text: "nan", "inf"."""
    if isinstance(value, dict):
        return {key: _finite(of) for key, of in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(of) for of in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value

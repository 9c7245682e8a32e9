"""Measure every tensor of a file: statistics, scheme, findings. The exit status is 1 for a finding of --fail-on."""

import argparse
import json
from pathlib import Path

from ..diagnostics.audit.audit import FINDINGS, OTHER_ORDER, audit, check_findings
from ..files.printable import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the files, the form of the output, and the findings that fail."""
    parser.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="a safetensors file, its index or folder, or a .npy, .npz, .keras, HDF5 or PyTorch file",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    parser.add_argument("--tests", action="store_true", help="print the tests for each scheme, or the failed test")
    parser.add_argument(
        "--axes", choices=tuple(OTHER_ORDER), help="the order of the axes of weights (default: by their names)"
    )
    parser.add_argument(
        "--fail-on",
        type=_findings,
        default=("nan",),
        metavar="FINDING,...",
        help=f"{'; '.join(f'{name}: {what}' for name, what in FINDINGS.items())} (default: nan; '' for none)",
    )


def _findings(text: str) -> tuple[str, ...]:
    try:
        return check_findings(tuple(filter(None, text.split(","))))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(options: argparse.Namespace) -> int:
    """Print the audit; return 1 for the findings of --fail-on."""
    report = audit(options.files, axes=options.axes)
    if options.json:
        # JSON has no NaN and no infinity: texts take their places.
        finite = json.loads(json.dumps(report.to_dicts()), parse_constant=lambda name: str(float(name)))
        print(json.dumps(finite, indent=1))
    else:
        print(report)
        if options.tests:
            print()
            for tensor in report.tensors:
                print(f"{printable(tensor.name)}: {tensor.test}")
    return int(bool(options.fail_on and report.found(*options.fail_on)))

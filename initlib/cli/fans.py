"""Print the fan_in and the fan_out of a weight."""

import argparse

import initlib

from . import syntax


def add_weight(parser: argparse.ArgumentParser) -> None:
    """What says which weight is meant."""
    parser.add_argument("shape", type=syntax.shape, help="sizes of the axes, such as 784x128")
    parser.add_argument(
        "--axes", type=syntax.text, help="what the axes mean, such as OIHW or '(3 O)I' (default: ...IO)"
    )


add_arguments = add_weight


def run(options: argparse.Namespace) -> None:
    """Print them."""
    fan_in, fan_out = initlib.fans(options.shape, options.axes)
    print(f"fan_in  {fan_in}\nfan_out {fan_out}")

"""Print the fan_in and the fan_out of a weight."""

import argparse

import initlib

from . import syntax

ASSUMED = "...IO"  # as everywhere in the core: the order of Keras, JAX and TensorFlow


def add_weight(parser: argparse.ArgumentParser) -> None:
    """Add the shape and the axes of a weight."""
    parser.add_argument("shape", type=syntax.shape, help="sizes of the axes, such as 784x128")
    parser.add_argument(
        "--axes",
        type=syntax.text,
        help=f"the role of each axis, such as OIHW or '(3 O)I' (default: {ASSUMED}; PyTorch stores OI...)",
    )


add_arguments = add_weight


def run(options: argparse.Namespace) -> None:
    """Print the fans, and the axes if the command assumes them."""
    fan_in, fan_out = initlib.fans(options.shape, options.axes)
    print(f"fan_in  {fan_in}\nfan_out {fan_out}")
    print(assumption(options.shape, options.axes), end="")


def assumption(shape: tuple[int, ...], axes: str | None) -> str:
    """Return a line that names the axes of a weight, if the command assumes them; else no line.

    >>> print(assumption((3, 3, 64, 128), None), end="")
    axes    ...IO is assumed: a 3x3 field, 64 inputs, 128 outputs; for the order of PyTorch: --axes OI...
    """
    if axes is not None or len(shape) < 2:
        return ""
    *field, inputs, outputs = shape
    window = f"a {'x'.join(map(str, field))} field, " if field else ""
    inside = f"{window}{inputs} inputs, {outputs} outputs"
    return f"axes    {ASSUMED} is assumed: {inside}; for the order of PyTorch: --axes OI...\n"

"""Draw a weight, print its expected and measured statistics and a histogram, and save the weight."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import initlib

from ..dtypes import dtype_name
from ..files.atomic_write import atomic_write
from ..files.header import Header
from ..key import as_key
from ..plans.text.describe import presets
from . import fans, syntax

BINS = 16
BAR = 40  # characters
BLOCK = 2**20  # weights measured at once


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the initializer, the weight, its stream, and the file to save it in."""
    parser.epilog = (
        f"initializers: {', '.join(presets())}; with values, such as 'normal(std=0.02)' or "
        f"'variance_scaling(2, fan_out)': {', '.join(syntax.factories())}"
    )
    parser.add_argument(
        "initializer",
        type=syntax.text,
        help="such as he_normal or 'normal(std=0.02)' (or normal:std=0.02, without quotes)",
    )
    fans.add_weight(parser)
    parser.add_argument("--seed", type=int, help="an int from 0 to 2**64 - 1 (default: a fresh seed, which is printed)")
    parser.add_argument(
        "--name", type=syntax.text, help="the parameter's name: selects a stream, and names the weight in the file"
    )
    parser.add_argument(
        "--dtype", type=syntax.text, default="float32", help="float32 (default), float64, float16 or bfloat16"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="save the weight as .npy or .safetensors")


def run(options: argparse.Namespace) -> None:
    """Draw, save, and then print, so that a closed output does not cost the file."""
    initializer = syntax.initializer(options.initializer)
    key = as_key(options.seed)
    shape, axes, path = options.shape, options.axes, options.output

    def draw() -> NDArray[Any]:
        return initializer(shape, options.dtype, axes=axes, seed=key, name=options.name)

    if path is None:
        weight = draw()
    else:
        before = _before(path, options.name or "weight", options.dtype, shape)
        with atomic_write(path) as file:
            weight = draw()
            if before is None:
                np.save(file, weight)
            else:
                file.write(before)
                file.write(weight.reshape(-1).view(np.uint8).data)
    name = "" if options.name is None else f", name {options.name!r}"
    fan_in, fan_out = initlib.fans(shape, axes)
    print(initializer)
    print(f"shape {'x'.join(map(str, shape))}, {weight.dtype}, fan_in {fan_in}, fan_out {fan_out}")
    print(f"seed {key.seed}{name}")
    if weight.size:
        _describe(weight, (initializer.std(shape, axes), *initializer.bounds(shape, axes)))
    if path is not None:
        print(f"wrote {path}")


def _before(path: Path, name: str, dtype: str, shape: tuple[int, ...]) -> bytes | None:
    """Return the bytes before the weights; None for a .npy. Raises ValueError for weights that the file cannot hold."""
    if path.suffix not in (".npy", ".safetensors"):
        raise ValueError(f"output must end in .npy or .safetensors, got {str(path)!r}")
    if path.suffix == ".safetensors":
        return Header.of({name: (dtype_name(dtype), shape)}, {}).to_bytes()
    if dtype == "bfloat16":
        raise ValueError("output of dtype bfloat16 must end in .safetensors: a .npy does not record that dtype")
    return None


def _describe(weight: NDArray[Any], expected: tuple[float, float, float]) -> None:
    """Print the expected and the measured std and bounds, and a histogram; of complex weights the std alone."""
    plane = np.iscomplexobj(weight)

    def blocks() -> Iterator[NDArray[Any]]:
        flat = weight.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            yield flat[start : start + BLOCK].astype(np.complex128 if plane else np.float64)

    with np.errstate(over="ignore"):  # float64 weights may be too large to square
        mean = sum(block.sum() for block in blocks()) / weight.size
        measured = [float(np.sqrt(sum((abs(block - mean) ** 2).sum() for block in blocks()) / weight.size))]
    if not plane:
        least, greatest = float(weight.min()), float(weight.max())
        measured += [least, greatest]
    print(f"{'':8}{'expected':>14}{'measured':>14}")
    for row, value, actual in zip(("std", "least", "greatest"), expected, measured, strict=False):
        print(f"{row:8}{value:14.6g}{actual:14.6g}")
    if plane:
        return
    if least < 0 < greatest:  # a bin's edge at 0
        greatest = max(-least, greatest)
        least = -greatest
    edges = np.linspace(least, greatest, BINS + 1) if least < greatest else np.array([least, greatest])
    counts = np.sum([np.histogram(block, edges)[0] for block in blocks()], axis=0)
    solid = "█" if _prints("█") else "#"
    for edge, count in zip(edges, counts, strict=False):
        print(f"{edge:14.6g} {solid * round(BAR * count / max(counts))} {count}")


def _prints(character: str) -> bool:
    """Return whether the output can show the character."""
    try:
        character.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True

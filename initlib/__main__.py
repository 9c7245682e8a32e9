"""The command line: `initlib`, or `python -m initlib`."""

import argparse
import ast
import importlib.util
import inspect
import os
import sys
import typing
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import initlib

from .key import as_key
from .schemes.initializer import Initializer

BINS = 16
BAR = 40  # characters
BLOCK = 2**20  # weights measured at once


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 2 for a mistake (one line on stderr), 130 for Ctrl-C.

    >>> main(["fans", "64x32x3x3", "--axes", "OIHW"])
    fan_in  288
    fan_out 576
    0
    """
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, *_: print(f"initlib: warning: {message}", file=sys.stderr)
            options.run(options)
            sys.stdout.flush()
    except (ImportError, MemoryError, OSError, TypeError, ValueError) as error:
        if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        print(f"initlib: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("initlib", description=initlib.__doc__)
    parser.add_argument("--version", action="version", version=f"initlib {initlib.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(run: Callable[[argparse.Namespace], None], does: str, **more: Any) -> argparse.ArgumentParser:
        parser = commands.add_parser(run.__name__.strip("_"), help=does, description=does, **more)
        parser.set_defaults(run=run)
        return parser

    def add_weight(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("shape", type=_shape, help="sizes of the axes, such as 784x128")
        parser.add_argument("--axes", help="what the axes mean, such as OIHW or '(3 O)I' (default: ...IO)")

    fans = command(_fans, "Print the fan_in and the fan_out of a weight.")
    add_weight(fans)

    draw = command(
        _draw,
        "Draw a weight; print what was expected, what was measured and a histogram; save it.",
        epilog=f"initializers: {', '.join(_presets())}; with values, such as normal:std=0.02 or "
        f"variance_scaling:2,fan_out: {', '.join(_factories())}",
    )
    draw.add_argument("initializer", help="such as he_normal or normal:std=0.02")
    add_weight(draw)
    draw.add_argument("--seed", type=int, help="an int from 0 to 2**64 - 1 (default: a fresh one, printed)")
    draw.add_argument("--name", help="the parameter's name: a stream of its own, and its name in a .safetensors")
    draw.add_argument("--dtype", default="float32", help="float32 (default), float64, float16 or bfloat16")
    draw.add_argument("-o", "--output", type=Path, metavar="FILE", help="a .npy or .safetensors to save it in")

    command(_config, "Print the versions, what draws (the kernel or the reference) and the number of threads.")

    demo = command(_demo, "Train a small network on real handwritten digits under four initializations.")
    demo.add_argument("--seed", type=int, default=0, help="an int from 0 to 2**64 - 1 (default: 0)")
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("initlib-demo.png"),
        metavar="FILE",
        help="the picture to write (default: %(default)s)",
    )
    return parser


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.split("x")
    if not all(size.isascii() and size.isdecimal() for size in sizes):
        raise argparse.ArgumentTypeError(f"shape must be sizes joined by x, such as 64x32x3x3, got {text!r}")
    return tuple(map(int, sizes))


def _presets() -> dict[str, Initializer]:
    """The initializers that the package exports, by name."""
    members = {name: getattr(initlib, name) for name in initlib.__all__}
    return {name: member for name, member in members.items() if isinstance(member, Initializer)}


def _factories() -> dict[str, Callable[..., Initializer]]:
    """The functions and classes that make an initializer, by name."""
    factories = {}
    for name in initlib.__all__:
        member = getattr(initlib, name)
        made = member if inspect.isclass(member) else None
        if inspect.isfunction(member):
            made = typing.get_type_hints(member).get("return")
        if inspect.isclass(made) and issubclass(made, Initializer) and member is not Initializer:
            factories[name] = member
    return factories


def _initializer(text: str) -> Initializer:
    """The initializer that a name, or a name and its arguments, stand for: `normal:std=0.02`."""
    name, _, rest = text.partition(":")
    presets, factories = _presets(), _factories()
    if name in presets and not rest:
        return presets[name]
    if name in presets:
        raise ValueError(f"initializer {name} takes no arguments, got {text!r}")
    if name not in factories:
        raise ValueError(f"initializer must be one of {', '.join([*presets, *factories])}, got {text!r}")
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for argument in filter(None, rest.split(",")):
        key, equals, value = argument.rpartition("=")
        if equals:
            named[key] = _literal(value)
        else:
            positional.append(_literal(value))
    signature = inspect.signature(factories[name])
    try:
        bound = signature.bind(*positional, **named)
    except TypeError as error:
        taken = ", ".join(signature.parameters)
        raise ValueError(f"initializer {text!r}: {error}; {name} takes {taken}") from None
    return factories[name](*bound.args, **bound.kwargs)


def _literal(text: str) -> Any:
    """A number, True, False or None; the initializer of that name; else the text itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return _presets().get(text, text)


def _fans(options: argparse.Namespace) -> None:
    fan_in, fan_out = initlib.fans(options.shape, options.axes)
    print(f"fan_in  {fan_in}\nfan_out {fan_out}")


def _config(options: argparse.Namespace) -> None:
    initlib.show_config()


def _demo(options: argparse.Namespace) -> None:
    try:
        from .commands import demo
    except ModuleNotFoundError as error:
        raise ImportError(f'the demo needs {error.name}: pip install "initlib[demo]"') from None
    demo.run(options.out, seed=options.seed)


def _draw(options: argparse.Namespace) -> None:
    initializer = _initializer(options.initializer)
    if options.output is not None:
        _check_output(options.output, options.dtype)
    key = as_key(options.seed)
    shape, axes = options.shape, options.axes
    weight = initializer(shape, options.dtype, axes=axes, seed=key, name=options.name)
    expected = (initializer.std(shape, axes), *initializer.bounds(shape, axes)) if weight.size else None
    name = "" if options.name is None else f", name {options.name!r}"
    fan_in, fan_out = initlib.fans(shape, axes)
    print(initializer)
    print(f"shape {'x'.join(map(str, shape))}, {weight.dtype}, fan_in {fan_in}, fan_out {fan_out}")
    print(f"seed {key.seed}{name}")
    if expected:
        _describe(weight, expected)
    if options.output is not None:
        _save(weight, options.output, options.name or "weight")
        print(f"wrote {options.output}")


def _describe(weight: NDArray[Any], expected: tuple[float, float, float]) -> None:
    """Print the expected and the measured std and bounds, and a histogram."""

    def blocks() -> Iterator[NDArray[np.float64]]:
        flat = weight.reshape(-1)
        for start in range(0, flat.size, BLOCK):
            yield flat[start : start + BLOCK].astype(np.float64)

    with np.errstate(over="ignore"):  # float64 weights may be too large to square
        mean = sum(block.sum() for block in blocks()) / weight.size
        std = float(np.sqrt(sum(((block - mean) ** 2).sum() for block in blocks()) / weight.size))
    least = min(float(block.min()) for block in blocks())
    greatest = max(float(block.max()) for block in blocks())
    print(f"{'':8}{'expected':>14}{'measured':>14}")
    for row, value, measured in zip(("std", "least", "greatest"), expected, (std, least, greatest), strict=True):
        print(f"{row:8}{value:14.6g}{measured:14.6g}")
    if least < 0 < greatest:  # a bin's edge at 0
        greatest = max(-least, greatest)
        least = -greatest
    edges = np.linspace(least, greatest, BINS + 1) if least < greatest else np.array([least, greatest])
    counts = np.sum([np.histogram(block, edges)[0] for block in blocks()], axis=0)
    solid = "█" if _prints("█") else "#"
    for edge, count in zip(edges, counts, strict=False):
        print(f"{edge:14.6g} {solid * round(BAR * count / max(counts))} {count}")


def _prints(character: str) -> bool:
    try:
        character.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _check_output(path: Path, dtype: str) -> None:
    """Raise before drawing what saving would raise after."""
    if path.suffix not in (".npy", ".safetensors"):
        raise ValueError(f"output must end in .npy or .safetensors, got {str(path)!r}")
    if path.suffix == ".npy" and dtype == "bfloat16":
        raise ValueError("a .npy does not record the dtype bfloat16; save it in a .safetensors")
    if path.suffix == ".safetensors" and importlib.util.find_spec("safetensors") is None:
        raise ImportError("saving a .safetensors needs the package safetensors: pip install safetensors")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"output {str(path)!r} is in a directory that does not exist")


def _save(weight: NDArray[Any], path: Path, name: str) -> None:
    """Write the file whole or not at all."""
    target = path.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}{target.suffix}")
    try:
        if path.suffix == ".npy":
            np.save(partial, weight)
        else:
            from safetensors.numpy import save_file

            partial.touch()
            mode = partial.stat().st_mode  # save_file would leave it to the owner alone
            save_file({name: weight}, partial)
            partial.chmod(mode)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())

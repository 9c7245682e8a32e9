"""Texts of the command line: shapes, initializers, rules and ranges of files."""

import argparse
import ast
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import initlib

from ..plans.text.describe import presets
from ..plans.text.nearest import nearest
from ..schemes.factories import FACTORIES
from ..schemes.initializer import Initializer

LONGEST = 1000  # characters of an initializer
LARGEST = 2**64  # a larger integer becomes a float, which may be infinite
WORDS = {"True": True, "False": False, "None": None, "inf": float("inf"), "nan": float("nan")}


def text(argument: str) -> str:
    """Check an argument that becomes a part of a name or a message."""
    if argument.isprintable():
        return argument
    raise argparse.ArgumentTypeError(f"must be text that can be printed, got {argument!r}")


def shape(argument: str) -> tuple[int, ...]:
    """Return the sizes of a shape.

    >>> shape("64x32x3x3")
    (64, 32, 3, 3)
    """
    sizes = argument.split("x")
    if not all(re.fullmatch(r"[0-9]{1,20}", size) for size in sizes):
        raise argparse.ArgumentTypeError(f"shape must be sizes joined by x, such as 64x32x3x3, got {argument!r}")
    return tuple(map(int, sizes))


def factories() -> dict[str, Callable[..., Initializer]]:
    """Return the functions of the package that make initializers, by name."""
    return {name: getattr(initlib, name) for name in FACTORIES if name in initlib.__all__}


def initializer(argument: str) -> Initializer:
    """Return the initializer of a text, written as in Python and in printed tables, or with a colon.

    >>> initializer("normal(std=0.02) * 0.5")
    scaled(initializer=normal(mean=0.0, std=0.02), factor=0.5)
    >>> initializer("normal:std=0.02")
    normal(mean=0.0, std=0.02)
    >>> initializer("he_normal") is initlib.he_normal
    True
    """
    value = _value(_parsed(argument), argument)
    if isinstance(value, Initializer):
        return value
    name = re.match(r"\w*", argument)
    if name and name[0] in factories():  # `normal`, without arguments
        return call(factories()[name[0]], argument)
    raise _unknown(argument, name[0] if name else argument)


def _unknown(argument: str, name: str) -> ValueError:
    names = [*presets(), *factories()]
    near = nearest(name, names, "names")
    return ValueError(f"initializer must be one of {', '.join(names)}, got {argument!r}{near}")


def fill(argument: str) -> Any:
    """Return the value of a rule: `keep`, or an initializer."""
    return initlib.keep if argument == "keep" else initializer(argument)


def call(function: Callable[..., Any], argument: str) -> Any:
    """Call a function with the arguments of a text: `gpt2:layers=2`, or `gpt2(layers=2)`."""
    tree = _parsed(argument)
    return _call(function, tree if isinstance(tree, ast.Call) else ast.Call(tree, [], []), argument)


def _parsed(argument: str) -> ast.expr:
    """Return the syntax tree of a text, which nothing evaluates."""
    name, colon, rest = argument.partition(":")
    code = f"{name}({rest})" if colon and name.isidentifier() else argument
    try:
        if len(code) > LONGEST:
            raise ValueError
        return ast.parse(code.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _unreadable(argument) from None


def _unreadable(argument: str) -> ValueError:
    shown = argument if len(argument) <= 80 else f"{argument[:80]}..."
    return ValueError(f"initializer must be written as in normal(std=0.02) or normal:std=0.02, got {shown!r}")


def _value(node: ast.expr, argument: str) -> Any:
    """Return the value of a node: a number, a text, an initializer, a tuple; a product with an initializer."""
    match node:
        case ast.Constant(value=bool() | str() | None as value):
            return value
        case ast.Constant(value=int() | float() as value):
            is_huge = isinstance(value, int) and abs(value) > LARGEST
            return float(str(value)) if is_huge else value  # infinite, where float(value) would raise OverflowError
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = _value(operand, argument)
            if isinstance(value, (int, float)):
                return -value
        case ast.Name(id=name):
            return WORDS[name] if name in WORDS else presets().get(name, name)
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return tuple(_value(item, argument) for item in items)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            factors = [_value(left, argument), _value(right, argument)]
            if any(isinstance(factor, Initializer) for factor in factors):
                return factors[0] * factors[1]
        case ast.Call(func=ast.Name(id=name)):
            made = factories()
            if name in made:
                return _call(made[name], node, argument)
            if name in presets():
                if node.args or node.keywords:
                    raise ValueError(f"initializer {name} must have no arguments, got {argument!r}")
                return presets()[name]
            raise _unknown(argument, name)
    raise _unreadable(argument)


def _call(function: Callable[..., Any], node: ast.Call, argument: str) -> Any:
    positional = [_value(each, argument) for each in node.args]
    keywords = {str(each.arg): _value(each.value, argument) for each in node.keywords}
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*positional, **keywords)
    except TypeError as error:
        takes = ", ".join(signature.parameters)
        raise ValueError(
            f"{argument!r}: {error}; {argument.partition(':')[0].partition('(')[0]} takes {takes}"
        ) from None
    return function(*bound.args, **bound.kwargs)


def pair(argument: str) -> tuple[str, str]:
    """Return a pattern of names, and its value.

    >>> pair("*norm*=constant(value=1)")
    ('*norm*', 'constant(value=1)')
    """
    pattern, equals, value = text(argument).partition("=")
    if not (pattern and equals and value):
        raise argparse.ArgumentTypeError(f"must be PATTERN=VALUE, such as '*.bias=zeros', got {argument!r}")
    return pattern, value


def source(argument: str) -> tuple[str, str]:
    """Return the path of a source in a plan, and the path to open.

    >>> source("old.safetensors=archive/old.safetensors"), source("old.safetensors")
    (('old.safetensors', 'archive/old.safetensors'), ('old.safetensors', 'old.safetensors'))
    """
    path, equals, place = text(argument).partition("=")
    if not path or (equals and not place):
        raise argparse.ArgumentTypeError(f"must be PATH, or PATH=PLACE for a file that has moved, got {argument!r}")
    return path, place or path


def add_plan(parser: argparse.ArgumentParser) -> None:
    """Add the plan, the seed, and the checkpoints that the plan may read."""
    parser.add_argument("plan", type=Path, metavar="PLAN.json", help="a file of `initlib plan -o`")
    parser.add_argument("--seed", type=int, required=True, help="an int from 0 to 2**64 - 1")
    parser.add_argument(
        "--source",
        dest="sources",
        action="append",
        default=[],
        type=source,
        metavar="PATH[=PLACE]",
        help="a checkpoint that the plan may read, by its path in the plan, and its place now; may be given again",
    )


def files(argument: str) -> slice:
    """Return a slice of a checkpoint's files, counted from 0.

    >>> files("3::64")
    slice(3, None, 64)
    """
    match = re.fullmatch(r"([0-9]{0,9}):([0-9]{0,9})(?::([1-9][0-9]{0,8})?)?", argument)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be a slice START:STOP:STEP, such as 3::64, got {argument!r}")
    return slice(*(int(part) if part else None for part in match.groups()))


# Python code in messages, and the option of the command line that does the same.
OPTIONS = (
    (r"""sources=\{(['"])(?P<path>[^'"]+)\1: path\} to Plan\.load or Plan\.from_json""", r"--source '\g<path>=PLACE'"),
    (r"""axes=\{(['"])(?P<pattern>[^'"]+)\1: (['"])(?P<value>[^'"]+)\3[^}]*\}""", r"--axes '\g<pattern>=\g<value>'"),
    (r"""kinds=\{(['"])(?P<pattern>[^'"]+)\1: (['"])(?P<value>[^'"]+)\3[^}]*\}""", r"--kind '\g<pattern>=\g<value>'"),
    (r"""\{(['"])(?P<pattern>[^'"]+)\1: (?P<value>[^{}]+)\}""", r"--rule '\g<pattern>=\g<value>'"),
    (r"axes=(['\"])(?P<axes>[^'\"]+)\1", r"--axes '\g<axes>'"),
    (r"\boverwrite=True", "--overwrite"),
    (r"\bdefault=(?P<value>[\w.]+(\([^()]*\))?)", r"--default '\g<value>'"),
)


def as_options(message: str) -> str:
    """Return a message of the library with the options of the command line in place of Python code.

    >>> as_options('pass axes={"*.gate": "OI"}, or add the rule {"*.gate": normal(std=0.02)}')
    "pass --axes '*.gate=OI', or add the rule --rule '*.gate=normal(std=0.02)'"
    """
    for code, option in OPTIONS:
        message = re.sub(code, option, message)
    return message

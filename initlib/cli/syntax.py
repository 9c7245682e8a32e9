"""How the command line writes a shape, an initializer, a rule and a choice of files."""

import argparse
import inspect
import re
from collections.abc import Callable
from typing import Any

import initlib

from ..schemes import FACTORIES
from ..schemes.initializer import Initializer

CONSTANTS = {"True": True, "False": False, "None": None}
LARGEST = 2**64  # of an int that is kept as one: beyond it a number is a float, which may be infinite


def text(argument: str) -> str:
    """An argument that becomes part of a name or a message: it has to be text."""
    if argument.isprintable():
        return argument
    raise argparse.ArgumentTypeError(f"must be text that can be printed, got {argument!r}")


def shape(argument: str) -> tuple[int, ...]:
    """Sizes joined by x.

    >>> shape("64x32x3x3")
    (64, 32, 3, 3)
    """
    sizes = argument.split("x")
    if not all(re.fullmatch(r"[0-9]{1,20}", size) for size in sizes):
        raise argparse.ArgumentTypeError(f"shape must be sizes joined by x, such as 64x32x3x3, got {argument!r}")
    return tuple(map(int, sizes))


def presets() -> dict[str, Initializer]:
    """The initializers that the package exports, by name."""
    members = {name: getattr(initlib, name) for name in initlib.__all__}
    return {name: member for name, member in members.items() if isinstance(member, Initializer)}


def factories() -> dict[str, Callable[..., Initializer]]:
    """What the package exports that makes an initializer, by name."""
    return {name: getattr(initlib, name) for name in FACTORIES if name in initlib.__all__}


def initializer(argument: str) -> Initializer:
    """The initializer that a name, or a name and its arguments, stand for.

    >>> initializer("normal:std=0.02")
    normal(mean=0.0, std=0.02)
    >>> initializer("he_normal") is initlib.he_normal
    True
    """
    name, _, rest = argument.partition(":")
    named, made = presets(), factories()
    if name in named and not rest:
        return named[name]
    if name in named:
        raise ValueError(f"initializer {name} takes no arguments, got {argument!r}")
    if name not in made:
        raise ValueError(f"initializer must be one of {', '.join([*named, *made])}, got {argument!r}")
    return call(made[name], argument)  # type: ignore[no-any-return]


def filling(argument: str) -> Any:
    """What fills a tensor: `keep`, or an initializer."""
    return initlib.keep if argument == "keep" else initializer(argument)


def call(function: Callable[..., Any], argument: str) -> Any:
    """What a function makes of the arguments after its name: `variance_scaling:2,mode=fan_out`."""
    name, _, rest = argument.partition(":")
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.rpartition("=")
        if equals:
            keywords[key] = _value(value)
        else:
            positional.append(_value(value))
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*positional, **keywords)
    except TypeError as error:
        taken = ", ".join(signature.parameters)
        raise ValueError(f"{argument!r}: {error}; {name} takes {taken}") from None
    return function(*bound.args, **bound.kwargs)


def _value(written: str) -> Any:
    """A number, True, False or None; the initializer of that name; else the text itself."""
    if written in CONSTANTS:
        return CONSTANTS[written]
    for kind in (int, float):
        try:
            number = kind(written)
        except ValueError:  # also an int of more digits than Python reads
            continue
        if abs(number) <= LARGEST or kind is float:
            return number
    return presets().get(written, written)


def pair(argument: str) -> tuple[str, str]:
    """A pattern of names, and what it stands for.

    >>> pair("*norm*=constant:value=1")
    ('*norm*', 'constant:value=1')
    """
    pattern, equals, value = text(argument).partition("=")
    if not (pattern and equals and value):
        raise argparse.ArgumentTypeError(f"must be PATTERN=VALUE, such as '*.bias=zeros', got {argument!r}")
    return pattern, value


def files(argument: str) -> slice:
    """A slice of a checkpoint's files, counted from 0.

    >>> files("3::64")
    slice(3, None, 64)
    """
    match = re.fullmatch(r"([0-9]{0,9}):([0-9]{0,9})(?::([1-9][0-9]{0,8})?)?", argument)
    if match is None:
        raise argparse.ArgumentTypeError(f"must be a slice START:STOP:STEP, such as 3::64, got {argument!r}")
    return slice(*(int(part) if part else None for part in match.groups()))

"""Checks: what would keep a plan from being drawn, found before anything is."""

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from ..dtypes import NAMES
from ..schemes.initializer import Independent, Initializer
from .entry import Entry

__all__ = ["Problem", "check", "needs_axes"]

Problem = tuple[str, str]  # the name of a parameter, and what is wrong with it

# Initializers that ask what the axes mean, by the name of their factory: for fans, or for matrices.
_ASKING = frozenset(
    "variance_scaling siren spectral orthogonal delta_orthogonal identity dirac zero_hadamard icnr sparse".split()  # noqa: SIM905
)


@lru_cache(maxsize=1024)
def needs_axes(initializer: Initializer) -> bool:
    """Whether its weights depend on what the axes mean, and not on the shape alone."""
    if initializer.factory in _ASKING or getattr(initializer, "uses_fans", False):
        return True
    return any(needs_axes(value) for value in initializer.get_config().values() if isinstance(value, Initializer))


@lru_cache(maxsize=4096)
def _trial(initializer: Initializer, shape: tuple[int, ...], axes: str, dtype: str) -> str | None:
    """Why that weight cannot be drawn, if it cannot: for a scheme of independent weights one of them is."""
    if 0 in shape:
        return None
    try:
        initializer.std(shape, axes)
        initializer.bounds(shape, axes)
        if isinstance(initializer, Independent):
            initializer(shape, dtype, axes=axes, seed=0, index=(0,) * len(shape))
    except ValueError as error:
        return str(error)
    return None


def check(entries: Iterable[Entry]) -> list[Problem]:
    """What keeps the entries from being a plan."""
    problems: list[Problem] = []
    streams: dict[str, str] = {}  # of what is drawn: the parameter that it is drawn for
    names: set[str] = set()
    for entry in entries:
        parameter, name = entry.parameter, entry.parameter.name
        if not names.isdisjoint(parameter.names):
            twice = ", ".join(sorted(names.intersection(parameter.names)))
            problems.append((name, f"another parameter is named {twice} too; tie them, or rename one"))
            continue
        names.update(parameter.names)
        try:
            pieces = entry.pieces
        except ValueError as error:
            problems.append((name, str(error)))
            continue
        if pieces and parameter.dtype not in NAMES:
            problems.append((name, f"dtype {parameter.dtype} is not one that is drawn ({', '.join(NAMES)}); keep it"))
            continue
        drawn = {entry.stream}
        for init, shape, axes in dict.fromkeys(
            (piece.initializer, piece.shape, piece.axes)
            for piece in pieces
            if isinstance(piece.initializer, Initializer)
        ):
            if parameter.axes is None and len(shape) >= 2 and needs_axes(init):
                problems.append((name, _ask_for_axes(entry, init)))
                break
            reason = _trial(init, shape, axes, parameter.dtype)
            if reason is not None:
                problems.append((name, f"{init!r} does not fit: {reason}"))
        for piece in pieces:
            if piece.stream != entry.stream and not isinstance(piece.initializer, np.ndarray):
                if piece.stream in drawn:
                    problems.append((name, f"two of its parts are named {piece.stream!r}, and would have one stream"))
                drawn.add(piece.stream)
        for stream in drawn:
            other = streams.setdefault(stream, name)
            if other != name:
                problems.append((name, f"it would share the stream {stream!r} with {other}; tie them, or rename one"))
    return problems


def _ask_for_axes(entry: Entry, initializer: Initializer) -> str:
    owner = f"of {entry.parameter.owner}, " if entry.parameter.owner else ""
    example = "OI" if len(entry.parameter.shape) == 2 else "BIO" if len(entry.parameter.shape) == 3 else "OIHW"
    return (
        f"{initializer.factory} asks what the axes mean, and nobody knows ({owner}shape {entry.parameter.shape}); "
        f"say it: axes={{pattern: {example!r}}}, or give it an initializer of fixed scale"
    )

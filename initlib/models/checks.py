"""Checks: what would keep a plan from being drawn, all of it, before anything is."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

from ..dtypes import NAMES, rounded
from ..schemes.initializer import Independent, Initializer
from .entry import Entry
from .pieces import Piece

__all__ = ["Problem", "check", "needs_axes"]

Problem = tuple[str, str]  # the name of a parameter, and what is wrong with it

# The initializers that ask what the axes mean, by the name of their factory: for their fans or as matrices.
_ASKING = {
    "delta_orthogonal",
    "dirac",
    "icnr",
    "identity",
    "orthogonal",
    "siren",
    "sparse",
    "spectral",
    "variance_scaling",
    "zero_hadamard",
}


@lru_cache(maxsize=1024)
def needs_axes(initializer: Initializer) -> bool:
    """Whether its weights depend on what the axes mean: the numbering alone, which any axes have, is not counted."""
    if initializer.factory in _ASKING or getattr(initializer, "uses_fans", False):
        return True
    return any(needs_axes(value) for value in initializer.get_config().values() if isinstance(value, Initializer))


def check(entries: Iterable[Entry]) -> list[Problem]:
    """What keeps the entries from being a plan."""
    problems: list[Problem] = []
    names: set[str] = set()
    owners: dict[str, str] = {}  # of a stream: the parameter that it is drawn for
    for entry in entries:
        name = entry.parameter.name
        taken = [each for each in entry.parameter.names if each in names]
        names.update(entry.parameter.names)
        if taken:
            problems.append((name, f"another parameter is named {', '.join(taken)} too; tie them, or rename one"))
            continue
        try:
            entry.pieces  # noqa: B018
        except ValueError as error:
            problems.append((name, str(error)))
            continue
        problems += [(name, text) for text in _misfits(entry)]
        drawn = [piece.stream for piece in entry.pieces if _is_drawn(piece)]
        if len(set(drawn)) < len(drawn):
            twice = next(stream for stream, count in Counter(drawn).items() if count > 1)
            problems.append((name, f"two of its parts would share the stream {twice}; name them apart"))
        for stream in {entry.stream: None, **dict.fromkeys(drawn)}:
            other = owners.setdefault(stream, name)
            if other != name:
                problems.append((name, f"it and {other} would share the stream {stream}; tie them, or rename one"))
    return problems


def _is_drawn(piece: Piece) -> bool:
    return isinstance(piece.initializer, Initializer) and piece.initializer.factory != "constant"


def _misfits(entry: Entry) -> Iterator[str]:
    """Why pieces of an entry cannot be drawn."""
    parameter = entry.parameter
    if entry.pieces and parameter.dtype not in NAMES:
        yield f"dtype {parameter.dtype} is none that is drawn ({', '.join(NAMES)}); keep it"
        return
    weights = {
        (piece.initializer, piece.shape, piece.axes): None
        for piece in entry.pieces
        if isinstance(piece.initializer, Initializer)
    }
    unknown = {init.factory for init, shape, _ in weights if len(shape) >= 2 and needs_axes(init)}
    if parameter.axes is None and unknown:
        of = f" of {parameter.owner}" if parameter.owner else ""
        yield (
            f"{', '.join(sorted(unknown))} asks what the axes of shape {parameter.shape}{of} mean, and nobody says it; "
            "say it by axes={pattern: axes}, in the stored order: I is an input axis, O an output axis, B a stack"
        )
        return
    for initializer, shape, axes in weights:
        reason = _misfit(initializer, shape, axes, parameter.dtype)
        if reason is not None:
            yield f"{initializer!r} cannot fill shape {shape}: {reason}"
    for piece in entry.pieces:
        if not isinstance(piece.initializer, Initializer):
            try:
                rounded(piece.initializer, parameter.dtype)
            except ValueError as error:
                yield str(error)


@lru_cache(maxsize=4096)
def _misfit(initializer: Initializer, shape: tuple[int, ...], axes: str, dtype: str) -> str | None:
    """Why that weight cannot be drawn, if it cannot: of independent weights one is drawn."""
    if 0 in shape:
        return None
    try:
        initializer.std(shape, axes)
        rounded(np.array(initializer.bounds(shape, axes)), dtype)
        if isinstance(initializer, Independent):
            initializer(shape, dtype, axes=axes, seed=0, index=(0,) * len(shape))
    except ValueError as error:
        return str(error)
    return None

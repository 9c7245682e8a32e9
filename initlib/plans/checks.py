"""Checks: every error that prevents a plan, found before anything is drawn."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator
from functools import lru_cache

import numpy as np

from ..dtypes import DTYPES, rounded
from ..schemes.initializer import Initializer
from .entry import Entry
from .fills.sums import Addend, Filling
from .packing.logical_weights import LogicalWeight
from .rules.hints import advice_for_axes
from .text.describe import described
from .text.errors import Problem

MOST_BOXES = 2**17  # boxes in all tensors of a plan


@lru_cache(maxsize=1024)
def first_needing_axes(initializer: Initializer) -> str | None:
    """Return the factory of the initializer that needs axes, or None. Inner initializers come first.

    >>> from initlib import he_normal, normal
    >>> first_needing_axes(he_normal * 0.5), first_needing_axes(normal() * 0.5)
    ('variance_scaling', None)
    """
    inner = [value for value in initializer.get_config().values() if isinstance(value, Initializer)]
    asking = next(filter(None, map(first_needing_axes, inner)), None)
    return initializer.factory if asking is None and initializer.needs_axes else asking


def check(entries: Iterable[Entry]) -> list[Problem]:
    """Return the problems of the entries of a plan."""
    problems: list[Problem] = []
    names: set[str] = set()
    owners: dict[str, Entry] = {}  # by stream
    alike: dict[Hashable, list[tuple[str, bool]]] = {}  # the misfits of full tensors, by the facts that they depend on
    boxes = 0
    for entry in entries:
        parameter, filling = entry.parameter, entry.filling
        name, own = parameter.name, (parameter.name, *parameter.tied)
        taken = [] if names.isdisjoint(own) else [each for each in own if each in names]
        names.update(own)
        if taken:
            problems.append(
                Problem(
                    name,
                    f"another parameter has the name {', '.join(map(repr, taken))} too. Tie the two parameters, or "
                    "rename one",
                )
            )
            continue
        streams: Iterable[str] = (entry.stream,)
        if parameter.padding is None and not isinstance(filling, Filling):
            facts = id(filling), parameter.form
            misfits = alike.get(facts)
            if misfits is None:
                misfits = alike[facts] = list(_misfits(entry))
            boxes += 1
        else:
            try:
                entry.pieces  # noqa: B018
            except ValueError as error:
                problems.append(Problem(name, str(error)))
                continue
            misfits = list(_misfits(entry))
            drawn = [piece.stream for piece in entry.pieces if _is_drawn(piece)]
            twice = next((stream for stream, count in Counter(drawn).items() if count > 1), None)
            if twice is not None:
                misfits.append((f"two parts would share the stream {twice!r}. Give each part a name of its own", False))
            streams = dict.fromkeys((entry.stream, *drawn))
            boxes += sum(len(piece.boxes) for piece in entry.pieces)
        if boxes > MOST_BOXES:
            text = f"the parts of the plan must make at most {MOST_BOXES} boxes, got {boxes} up to this tensor"
            problems.append(Problem(name, text))
            break
        for text, needs_axes in misfits:
            about = (entry.stream, text, advice_for_axes(parameter)) if needs_axes else (name, text)
            problems.append(Problem(*about))
        for stream in streams:
            other = owners.setdefault(stream, entry)
            if other is not entry and not (entry.shared or other.shared):
                text = (
                    f"would share the stream {stream!r} with {other.parameter.name!r}. Tie the two parameters, or "
                    "rename one"
                )
                problems.append(Problem(name, text))
                break
            if other is not entry and not (entry.kept or other.kept or _are_alike(entry, other)):
                one, two = (entry, other) if entry.shared else (other, entry)
                text = f"must have the shape, axes and initializer of {two.parameter.name!r} to share this stream"
                problems.append(Problem(one.parameter.name, text))
                break
    return problems


def _are_alike(first: Entry, second: Entry) -> bool:
    facts = [(each.stream, each.parameter.shape, each.parameter.axes, each.filling) for each in (first, second)]
    return facts[0] == facts[1]


def _is_drawn(piece: LogicalWeight) -> bool:
    return piece.drawn is not None and piece.drawn.factory != "constant"


def _misfits(entry: Entry) -> Iterator[tuple[str, bool]]:
    """Yield the reasons why weights of an entry cannot be drawn, each with True if the reason is unknown axes."""
    parameter = entry.parameter
    if entry.pieces and parameter.dtype not in DTYPES:
        yield f"dtype must be one of {', '.join(DTYPES)} to be drawn, got {parameter.dtype}. Keep the parameter", False
        return
    weights = {(piece.drawn, piece.shape, piece.axes): None for piece in entry.pieces if piece.drawn is not None}
    needing = [init for init, shape, _ in weights if len(shape) >= 2 and first_needing_axes(init)]
    if parameter.axes is None and needing:
        ndim, owner = len(parameter.shape), f" in {parameter.owner}" if parameter.owner else ""
        yield (
            f"{described(needing[0])} needs to know which of the {ndim} axes{owner} are inputs and outputs",
            True,
        )
        return
    for initializer, shape, axes in weights:
        reason = _misfit(initializer, shape, axes, parameter.dtype)
        if reason is not None:
            yield f"{described(initializer)} cannot fill shape {shape}: {reason}", False
    for piece in entry.pieces:
        if isinstance(piece.initializer, Addend):
            for term in piece.initializer.terms:
                if term.is_complex and not DTYPES[parameter.dtype].part:
                    yield f"{term!r} must be real for dtype {parameter.dtype}, got {term.dtype}", False
        elif not isinstance(piece.initializer, Initializer):
            try:
                rounded(piece.initializer, _of_range(parameter.dtype))
            except ValueError as error:
                yield str(error), False


@lru_cache(maxsize=4096)
def _misfit(initializer: Initializer, shape: tuple[int, ...], axes: str, dtype: str) -> str | None:
    """Return the reason why a weight cannot be drawn; None if the weight can be drawn."""
    if 0 in shape:
        return None
    try:
        initializer.check(shape, "float32" if dtype == "bfloat16" else dtype, axes=axes)
        rounded(np.array(initializer.bounds(shape, axes)), _of_range(dtype))
    except (ArithmeticError, ImportError, ValueError) as error:
        return str(error)
    return None


def _of_range(dtype: str) -> str:
    """Return a dtype of the same range that NumPy has without other packages."""
    return "float32" if dtype == "bfloat16" else DTYPES[dtype].part or dtype

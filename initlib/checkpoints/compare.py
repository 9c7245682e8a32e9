"""Comparison of held tensors, in files and in live models, with the weights that a plan and a seed give."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..dtypes import numpy_dtype
from ..key import Key
from ..plans.entry import Entry
from ..schemes._scaled import Scaled
from ..schemes.initializer import Initializer
from ..schemes.kinds import Elementwise, Independent
from .held import HeldBox, HeldTensor, Read, Values, same_bits
from .source import Foreign, Source
from .spans import Span, Spans, costs_a_whole

LARGE = 2**20  # weights that are drawn and read at a time
SMALL = 1024  # weights of one sample
SAMPLES = 16  # of each tensor
CLOSE = 1e-6  # promised between engines for products of matrices and a mean other than 0, relative to their scale


@dataclass(frozen=True)
class Difference:
    """A difference between a plan and a file or a model.

    Attributes:
        name: the name of the tensor, or of the file.
        what: what differs.
        index: the index of the first weight that is known to differ, in the full weight.
        holds: the slice of the plan's weights that is held in place of the tensor's own, where it is found.
    """

    name: str
    what: str
    index: tuple[int, ...] | None = None
    holds: str | None = None

    def __str__(self) -> str:
        start = "" if self.index is None else f" {self.index} on"
        return f"{self.name!r} {self.what}{start}" + ("" if self.holds is None else f": holds {self.holds}")


class Differences(tuple[Difference, ...]):
    """The differences that a comparison found: a tuple, which is empty and false if nothing differs.

    Attributes:
        summary: a line about what was compared; `str` returns it, and a line for each difference.
    """

    summary: str

    def __new__(cls, differences: Iterable[Difference] = (), summary: str = "") -> "Differences":
        made = super().__new__(cls, differences)
        made.summary = summary
        return made

    def __str__(self) -> str:
        return "\n".join([self.summary, *map(str, self)])


class Found(NamedTuple):
    """The first weight that differs: its index in the full tensor, the box that holds it, and how to read the box."""

    index: tuple[int, ...]
    held: HeldBox
    read: Read


class Comparison:
    """The comparison of tensors with a plan's entries under a key."""

    def __init__(self, entries: Sequence[Entry], key: Key, *, whole: bool) -> None:
        self._key = key
        self._whole = whole
        self._source = Source(entries, key)
        self._tensors = self._weights = self._compared = 0
        self._memory = np.empty(0, np.uint8)

    def difference(self, entry: Entry, name: str, tensor: HeldTensor) -> Difference | None:
        """Return the difference between a tensor and its entry, if there is one."""
        parameter = entry.parameter
        self._tensors += 1
        if tensor.shape != parameter.shape:
            return Difference(name, f"has shape {tensor.shape}, the plan has {parameter.shape}")
        if tensor.dtype != parameter.dtype:
            return Difference(name, f"has dtype {tensor.dtype}, the plan has {parameter.dtype}")
        if entry.kept:
            return None
        try:
            boxes = [held for held in tensor.boxes() if 0 not in held.shape]
        except (TypeError, ValueError, RuntimeError) as error:
            return Difference(name, f"cannot be read: {error}")
        self._weights += sum(math.prod(held.shape) for held in boxes)
        found = self._first(entry, boxes, None if tensor.exact else _allowed(entry, tensor.computed))
        if found is None:
            return None
        holds = None if tensor.computed else self._source.find(entry, Foreign(found.held, found.read, found.index))
        return Difference(name, "differs from weight", found.index, holds)

    def result(self, differences: Sequence[Difference]) -> Differences:
        """Return the differences, with a line of summary."""
        count = len(differences)
        verdict = f"{count:,} difference{'s' * (count > 1)}" if count else "nothing differs"
        extent = "all" if self._whole else f"{self._compared:,} of"
        return Differences(
            differences, f"{verdict}: compared {self._tensors:,} tensors, {extent} {self._weights:,} weights"
        )

    def _first(self, entry: Entry, boxes: list[HeldBox], allowed: float | None) -> Found | None:
        """Return the first weight that differs: of all weights, or of all if one in the samples differs."""
        full = None
        if len(boxes) > 1 and entry.filled and costs_a_whole(entry):
            full = entry.draw(self._key)  # each box alone would cost as much
        if not self._whole:
            cuts = [_spans(entry, held, SMALL) for held in boxes]
            total = sum(map(len, cuts))
            samples = [
                (held, span)
                for held, cut in zip(boxes, cuts, strict=True)
                for span in cut.sample(max(1, round(SAMPLES * len(cut) / total)))
            ]
            self._compared += sum(span.stop - span.start for _, span in samples)
            places = (self._differs(entry, *each, allowed, full) for each in samples)
            if not any(place is not None for place in places):
                return None
        found = []
        for held in boxes:
            for span in _spans(entry, held, LARGE):
                place = self._differs(entry, held, span, allowed, full)
                if place is not None:
                    found.append(place)
                    break
        return min(found, key=lambda each: each.index, default=None)

    def _differs(
        self, entry: Entry, held: HeldBox, span: Span, allowed: float | None, full: Values | None
    ) -> Found | None:
        """Return the first weight of a span that differs in a copy."""
        index, size, dtype = held.index(span), span.stop - span.start, numpy_dtype(entry.parameter.dtype)
        drawn = None if full is None else full[index].reshape(-1)
        found = None
        for read in held.copies:
            values = read(span).reshape(-1)
            present = values.size
            if present < size:
                values = np.concatenate([values, np.zeros(size - present, values.dtype)])
            if not entry.filled:  # what is kept stays as it was read
                drawn = entry.draw(self._key, index, values.astype(dtype).reshape(span.shape)).reshape(-1)
            elif drawn is None:
                drawn = entry.draw(self._key, index, self._out(span.shape, dtype)).reshape(-1)
            differs = ~same_bits(drawn, values) if allowed is None else _far(values, drawn, allowed)
            differs[present:] = True
            if differs.any():
                size = int(differs.argmax())  # another copy may differ before
                local = np.unravel_index(span.start + size, held.shape)
                first = tuple(part.start + int(at) * part.step for at, part in zip(local, held.box, strict=True))
                found = Found(first, held, read)
        return found

    def _out(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Values:
        """Return memory to draw into, the same each time: fresh memory costs more than the draw."""
        size = math.prod(shape) * dtype.itemsize
        if self._memory.size < size:
            self._memory = np.empty(size, np.uint8)
        return self._memory[:size].view(dtype).reshape(shape)


def _spans(entry: Entry, held: HeldBox, most: int) -> Spans:
    """Return the spans of a box: of at most so many weights, or one where a box costs as much as the full weight."""
    return Spans(held.shape, math.prod(held.shape) if costs_a_whole(entry) else most)


def _allowed(entry: Entry, computed: bool) -> float | None:
    """Return the distance that is allowed beside two roundings; None where all bits are promised."""
    distances = [0.0] if computed else []
    for piece in entry.pieces:
        initializer = piece.initializer
        if isinstance(initializer, Initializer) and not _is_exact(initializer, piece.shape, piece.axes):
            # The errors of a product are relative to the length of its rows, not to each weight.
            length = math.sqrt(max(piece.shape)) if initializer.requires_full_draw else 1.0
            distances.append(CLOSE * length * initializer.std(piece.shape, piece.axes))
    return max(distances, default=None)


def _is_exact(initializer: Initializer, shape: tuple[int, ...], axes: str) -> bool:
    """Return whether every engine is promised to draw the same bits."""
    while isinstance(initializer, Scaled):
        initializer = initializer.initializer
    if isinstance(initializer, Independent):
        return initializer.law(shape, axes, "float64").mean == 0
    return not (initializer.requires_full_draw or isinstance(initializer, Elementwise))


def _far(values: Values, drawn: Values, allowed: float) -> Values:
    """Return which values are farther from the drawn weights than is allowed and two roundings of their dtype."""
    wide = np.complex128 if drawn.dtype.kind == "c" else np.float64
    given, expected = values.astype(wide), drawn.astype(wide)
    with np.errstate(invalid="ignore"):
        near = np.abs(given - expected) <= allowed + (CLOSE + _epsilon(drawn.dtype)) * np.abs(expected)
    far: Values = ~(near | (given == expected) | (np.isnan(given) & np.isnan(expected)))
    return far


def _epsilon(dtype: np.dtype[Any]) -> float:
    """Return the distance from 1 to the next number of a dtype."""
    if dtype.isbuiltin == 1:
        return float(np.finfo(dtype).eps)
    import ml_dtypes

    return float(ml_dtypes.finfo(dtype).eps)

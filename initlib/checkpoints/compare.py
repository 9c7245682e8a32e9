"""Comparison of held tensors, in files and in live models, with the weights of a plan and a seed."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dtypes import numpy_dtype
from ..files.printable import escaped, printable
from ..key import Key
from ..plans.entry import Entry
from ..stream.boxes import Piece
from .held import HeldBox, HeldTensor, Place, Values, same_bits
from .source import Foreign, Source
from .spans import spans
from .tolerance import allow_for_tolerance, close

LARGE = 2**20  # weights that are drawn and read at a time
SMALL = 1024  # weights of one sample
SAMPLES = 16  # of each tensor


@dataclass(frozen=True)
class Difference:
    """A difference between a plan and a file or a model.

    Attributes:
        name: the name of the tensor, or of the file.
        what: the property that differs, in words.
        index: the index in the full weight of the first number that differs; None if the shape or the dtype differs.
        holds: the slice of the plan's weights that the tensor contains instead, if a short search finds the slice.
    """

    name: str
    what: str
    index: tuple[int, ...] | None = None
    holds: str | None = None

    def __str__(self) -> str:
        start = "" if self.index is None else f" from index {self.index} on"
        holds = "" if self.holds is None else f": holds {escaped(self.holds)}"
        return f"'{printable(self.name)}' {escaped(self.what)}{start}{holds}"


class Differences(tuple[Difference, ...]):
    """A tuple of the differences that a comparison found, empty (false) if nothing differs.

    Attributes:
        summary: one line with the number of differences and the number of compared weights. `str` returns this line,
            then one line for each difference.
    """

    summary: str

    def __new__(cls, differences: Iterable[Difference] = (), summary: str = "") -> "Differences":
        made = super().__new__(cls, differences)
        made.summary = summary
        return made

    def __str__(self) -> str:
        return "\n".join([self.summary, *map(str, self)])


class Comparison:
    """Comparison of tensors with a plan's entries under a key."""

    def __init__(self, entries: Sequence[Entry], key: Key, *, whole: bool) -> None:
        self._key = key
        self._whole = whole
        self._source = Source(entries, key)
        self._tensors = self._weights = self._compared = 0
        self._memory = np.empty(0, np.uint8)

    def difference(self, entry: Entry, name: str, tensor: HeldTensor) -> Difference | None:
        """Return the difference between a tensor and its entry, or None."""
        parameter = entry.parameter
        self._tensors += 1
        if tensor.shape != parameter.shape:
            return Difference(name, f"has shape {tensor.shape}, but the plan has {parameter.shape}")
        if tensor.dtype != parameter.dtype:
            return Difference(name, f"has dtype {tensor.dtype}, but the plan has {parameter.dtype}")
        if entry.kept:
            return None
        try:
            boxes = [held for held in tensor.boxes() if 0 not in held.shape]
        except (TypeError, ValueError, RuntimeError) as error:
            return Difference(name, f"cannot be read: {error}")
        self._weights += sum(math.prod(held.shape) for held in boxes)
        first = self._first(entry, tensor, boxes)
        if first is None:
            return None
        return Difference(name, "has other values", first.place, self._source.find(entry, first))

    def result(self, differences: Sequence[Difference]) -> Differences:
        """Return the differences, with a line of summary."""
        count = len(differences)
        verdict = f"{count:,} difference{'s' * (count > 1)}" if count else "nothing differs"
        extent = "all" if self._whole else f"{self._compared:,} of"
        tensors = f"{self._tensors:,} tensor{'s' * (self._tensors != 1)}"
        return Differences(differences, f"{verdict}: compared {tensors}, {extent} {self._weights:,} weights")

    def _first(self, entry: Entry, tensor: HeldTensor, boxes: list[HeldBox]) -> Foreign | None:
        """Return the first weight that differs: of all weights, or of all weights if one in the samples differs."""
        full = None
        if len(boxes) > 1 and entry.filled and entry.requires_full_draw:
            full = entry.draw(self._key)  # each box alone would cost as much
        if not self._whole:
            cuts = [spans(entry, SMALL, held.shape) for held in boxes]
            total = sum(map(len, cuts))
            samples = [
                (held, piece)
                for held, pieces in zip(boxes, cuts, strict=True)
                for piece in pieces.sample(max(1, round(SAMPLES * len(pieces) / total)))
            ]
            self._compared += sum(piece.stop - piece.start for _, piece in samples)
            if all(self._in_piece(entry, tensor, *sample, full) is None for sample in samples):
                return None
        firsts = []
        for held in boxes:
            each = (self._in_piece(entry, tensor, held, piece, full) for piece in spans(entry, LARGE, held.shape))
            firsts.append(next((first for first in each if first is not None), None))
        return min(filter(None, firsts), key=lambda first: first.place, default=None)

    def _in_piece(
        self, entry: Entry, tensor: HeldTensor, held: HeldBox, piece: Piece, full: Values | None
    ) -> Foreign | None:
        """Return the first weight of a piece that differs in a copy."""
        place, dtype = held.place(piece), numpy_dtype(entry.parameter.dtype)
        drawn = None if full is None else full[place]
        first = None
        for read in held.copies:
            values = read(piece).reshape(piece.shape)
            if not entry.filled:  # kept weights count as equal
                drawn = entry.draw(self._key, place, np.array(values, dtype))
            elif drawn is None:
                drawn = entry.draw(self._key, place, self._out(piece.shape, dtype))
            differs = (~_same(entry, tensor, held, place, drawn, values)).reshape(-1)
            if differs.any():
                local = np.unravel_index(piece.start + int(differs.argmax()), held.shape)
                index = tuple(part.start + int(at) * part.step for at, part in zip(local, held.box, strict=True))
                if first is None or index < first.place:
                    first = Foreign(held, read, index)
        return first

    def _out(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Values:
        """Return memory to draw into, the same each time: fresh memory costs more than the draw."""
        size = math.prod(shape) * dtype.itemsize
        if self._memory.size < size:
            self._memory = np.empty(size, np.uint8)
        return self._memory[:size].view(dtype).reshape(shape)


def _same(
    entry: Entry, tensor: HeldTensor, held: HeldBox, place: Place, drawn: Values, values: Values
) -> NDArray[np.bool_]:
    """Return a mask of the values that equal the drawn weights, within the promised accuracy."""
    if held.computed:
        return close(drawn, values, entry.parameter.dtype)
    differs = np.asarray(~same_bits(drawn, values))
    if differs.any():
        allow_for_tolerance(differs, entry, place, drawn, values, fused=tensor.fused)
    return ~differs

"""Entry: one stored tensor of a plan, what fills it, and how it is drawn."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..draws.runs import box_shape, normalize_index
from ..dtypes import numpy_dtype
from ..key import Key
from ..schemes.composed import Composed, Indexed
from ..schemes.initializer import Initializer
from ..schemes.variance import zeros
from .boxes import Box, Index, cut
from .fillings import Filling, Keep
from .parameter import Parameter
from .pieces import ROW_MAJOR, Piece, pieces

__all__ = ["Entry"]


@dataclass(frozen=True)
class Entry:
    """What fills one stored tensor: the parameter, the name of its stream, the filling, and notes on them."""

    parameter: Parameter
    stream: str
    filling: Filling
    notes: tuple[str, ...] = ()

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        """The weights that lie in the tensor; none where it is kept."""
        shape, row = self.parameter.shape, self.parameter.padding
        found = pieces(self.filling, self.stream, shape, self.parameter.axes)
        if row is not None and isinstance(self.filling, Initializer):
            rest = tuple(slice(0, size) for size in shape[1:])
            drawn = [(slice(0, row), *rest), (slice(row + 1, shape[0]), *rest)]
            kept = tuple((index, index) for index in drawn if index[0].start < index[0].stop)
            padding = (((slice(row, row + 1), *rest), (slice(0, 1), *rest)),)
            found = [found[0]._replace(boxes=kept), Piece(self.stream, zeros, (1, *shape[1:]), ROW_MAJOR, padding)]
        return tuple(found)

    @property
    def kept(self) -> bool:
        """Whether the whole tensor is left as it is."""
        return isinstance(self.filling, Keep)

    def boxes(self, index: Any) -> Iterator[tuple[Piece, Index, Index]]:
        """The pieces of what an index takes of the tensor: (piece, index into that, index into the piece)."""
        for piece in self.pieces:
            for outer, inner in cut((Box(*box) for box in piece.boxes), index, self.parameter.shape):
                yield piece, outer, inner

    def draw(self, key: Key, index: Any = None, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Draw the tensor, or a box of it, under the key of the whole model; what is kept stays as `out` has it."""
        shape, dtype = self.parameter.shape, self.parameter.dtype
        if len(self.pieces) == 1 and len(self.pieces[0].boxes) == 1 and self._whole:
            return self.pieces[0].draw(dtype, key, index, out)
        kept = shape if index is None else box_shape(normalize_index(index, shape))
        if out is None:
            if not self._whole:
                raise ValueError(
                    f"{self.parameter.name} is kept, at least in part, and a plan does not have its values"
                )
            out = np.empty(kept, numpy_dtype(dtype))
        elif out.shape != kept or out.dtype != numpy_dtype(dtype):
            raise ValueError(f"out has shape {out.shape} and dtype {out.dtype}, the draw has {kept} and {dtype}")
        taken = ... if index is None else index
        for _, group in groupby(self.boxes(taken), key=lambda box: id(box[0])):
            boxes = list(group)
            self._fill(out, boxes[0][0], [(outer, inner) for _, outer, inner in boxes], key)
        return out

    def _fill(self, out: NDArray[Any], piece: Piece, boxes: list[tuple[Index, Index]], key: Key) -> None:
        init, dtype = piece.initializer, self.parameter.dtype
        if len(boxes) > 1 and isinstance(init, Composed) and not isinstance(init, Indexed):
            whole = piece.draw(dtype, key)  # each box of it would cost as much
            for outer, inner in boxes:
                out[outer] = whole[inner]
        else:
            for outer, inner in boxes:
                piece.draw(dtype, key, inner, out[(*outer, ...)])

    @cached_property
    def _whole(self) -> bool:
        """Whether the pieces fill the whole tensor."""
        sizes = (
            math.prod(s.stop - s.start for s in outer if isinstance(s, slice))
            for piece in self.pieces
            for outer, _ in piece.boxes
        )
        return sum(sizes) == self.parameter.size

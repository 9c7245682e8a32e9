"""Entry: one stored tensor of a plan, its fill, and its draws."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dtypes import numpy_dtype
from ..key import Key
from ..schemes._constant import zeros
from ..schemes.initializer import Initializer
from ..stream.boxes import box_shape, normalize_index
from ..stream.engine import DrawRequest
from ..stream.numpy_engine import NUMPY
from .fills.parts import Parts
from .fills.sums import Addend
from .fills.values import Fill, Filling, Keep
from .packing.logical_weights import LogicalWeight, Request, pieces
from .packing.overlaps import Index, Overlap, cut, identity_overlap
from .packing.part_axes import ROW_MAJOR
from .parameter import Parameter


@dataclass(frozen=True, init=False)
class Entry:
    """A stored tensor of a plan: the parameter, the name of its stream, its fill, and notes.

    >>> from initlib import Parameter, he_normal, plan
    >>> kernel = Parameter("mlp.weight", (8, 4), axes="OI", kind="kernel")
    >>> entry = plan([kernel], he_normal)["mlp.weight"]
    >>> entry.stream, entry.kept, len(entry.pieces)
    ('mlp.weight', False, 1)
    >>> [(outer, inner) for piece, outer, inner in entry.boxes((slice(2, 4), 0))]
    [((slice(0, 2, None),), (slice(2, 4, None), 0))]
    """

    parameter: Parameter
    stream: str
    filling: Fill
    notes: tuple[str, ...] = ()
    shared: bool = False  # the stream is that of another parameter, by same_as

    def __init__(
        self, parameter: Parameter, stream: str, filling: Fill, notes: tuple[str, ...] = (), shared: bool = False
    ) -> None:
        fields = self.__dict__  # faster than `object.__setattr__` for each field, as in a frozen dataclass
        fields["parameter"], fields["stream"], fields["filling"] = parameter, stream, filling
        fields["notes"], fields["shared"] = notes, shared

    @property
    def kept(self) -> bool:
        """Return True if the plan keeps the full tensor."""
        return isinstance(self.filling, Keep)

    @cached_property
    def pieces(self) -> tuple[LogicalWeight, ...]:
        """Return the weights that the tensor contains; an empty tuple for a kept tensor."""
        weights = pieces(self.filling, self.stream, self.parameter.shape, self.parameter.axes)
        if (
            self.parameter.padding is not None
            and not isinstance(self.filling, Parts)
            and any(weight.drawn is not None for weight in weights)
        ):
            return self._padded(weights[0], self.parameter.padding)
        return tuple(weights)

    def _padded(self, table: LogicalWeight, row: int) -> tuple[LogicalWeight, ...]:
        """Return the table without its padding row, and the padding row: zero, or the old row without noise."""
        shape = self.parameter.shape
        rest = identity_overlap(shape[1:]).outer
        around = [slice(0, row), slice(row + 1, shape[0])]
        boxes = tuple(Overlap((rows, *rest), (rows, *rest)) for rows in around if rows.start < rows.stop)
        at = slice(row, row + 1)
        if isinstance(table.initializer, Addend):
            quiet = table._replace(initializer=table.initializer.quiet, boxes=(Overlap((at, *rest), (at, *rest)),))
        else:
            padding = Overlap((at, *rest), (slice(0, 1), *rest))
            quiet = LogicalWeight(self.stream, zeros, (1, *shape[1:]), ROW_MAJOR, (padding,))
        return table._replace(boxes=boxes), quiet

    def boxes(self, index: Any) -> Iterator[tuple[LogicalWeight, Index, Index]]:
        """Yield each part of a weight that lies in the box at an index.

        A part is the weight, the index into the box, and the index into the weight.
        """
        for piece in self.pieces:
            for outer, inner in piece.boxes if index is ... else cut(piece.boxes, index, self.parameter.shape):
                yield piece, outer, inner

    def requests(self, key: Key, index: Any = ...) -> Iterator[Request]:
        """Yield the requests that fill the box at an index, under the key of the model.

        Each request has an index into the box, an initializer or values, and a `DrawRequest`.
        """
        if index is ... and isinstance(self.filling, Initializer) and self.parameter.padding is None:
            shape, axes, dtype = self.parameter.shape, self.parameter.axes or ROW_MAJOR, self.parameter.dtype
            yield Request((), self.filling, DrawRequest(shape, axes, dtype, key.fold_in(self.stream)))
            return
        for weight in self.pieces:
            boxes = weight.boxes if index is ... else tuple(cut(weight.boxes, index, self.parameter.shape))
            yield from weight.requests(boxes, self.parameter.dtype, key)

    @property
    def added(self) -> tuple[Addend, ...]:
        """Return the fills of old weights in the tensor. Only the host reads and adds old weights."""
        if not isinstance(self.filling, Filling) or isinstance(self.filling, Keep):
            return ()  # without the pieces, which most tensors never need
        return tuple(piece.initializer for piece in self.pieces if isinstance(piece.initializer, Addend))

    def check_unchanged(self) -> None:
        """Raise OSError or ValueError if old weights cannot be read: a file has changed, or is not in `sources`."""
        for addend in self.added:
            for term in addend.terms:
                term.check_unchanged()

    @property
    def requires_full_draw(self) -> bool:
        """Return True if a draw of a box must compute the full tensor, as for orthogonal weights."""
        return any(weight.requires_full_draw for weight in self.pieces)

    def draw(self, key: Key, index: Any = None, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Draw the tensor, or a box of the tensor, under the key of the model. Kept weights in `out` do not change."""
        shape, dtype = self.parameter.shape, numpy_dtype(self.parameter.dtype)
        expected = shape if index is None else box_shape(normalize_index(index, shape))
        if out is None:
            out = self.new_array(expected)
        elif self.kept:
            return out
        elif not isinstance(out, np.ndarray):
            raise TypeError(f"out must be a numpy.ndarray, got {type(out).__name__}")
        elif out.shape != expected or out.dtype != dtype:
            raise ValueError(
                f"out must have shape {expected} and dtype {dtype}, got shape {out.shape} and dtype {out.dtype}"
            )
        for place, source, request in self.requests(key, ... if index is None else index) if out.size else ():
            if isinstance(source, Initializer):
                source.fill(out[(*place, ...)], request, NUMPY)
            else:
                out[place] = source
        return out

    def new_array(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """Return an unfilled array for a box of the given shape. Raise ValueError if the plan keeps weights."""
        if not self.filled:
            raise ValueError(f"out must be given for {self.parameter.name}, because the plan keeps some of its weights")
        return np.empty(shape, numpy_dtype(self.parameter.dtype))

    @cached_property
    def filled(self) -> bool:
        """Return True if the weights fill the full tensor."""
        boxes = (outer for piece in self.pieces for outer, _ in piece.boxes)
        sizes = (math.prod(part.stop - part.start for part in outer if isinstance(part, slice)) for outer in boxes)
        return sum(sizes) == self.parameter.size and not self.kept

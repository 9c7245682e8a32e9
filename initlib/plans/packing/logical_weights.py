"""Logical weights: the weights in a stored tensor, each described as if stored alone."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...dtypes import numpy_dtype, rounded
from ...key import Key
from ...schemes.initializer import Initializer
from ...stream.boxes import Pieces, box_shape, normalize_index
from ...stream.engine import DrawRequest
from ...stream.numpy_engine import NUMPY
from ..fills.parts import Parts, Split, Stack
from ..fills.sums import Addend
from ..fills.values import Fill, Keep, Values
from .overlaps import Index, Overlap, identity_overlap, join, place_in
from .part_axes import ROW_MAJOR, unpacked, without

MOST = 2**16  # boxes in one stored tensor
LARGE = 2**20  # weights that are read and added at a time


class Request(NamedTuple):
    """A box of a tensor to fill: its place, the initializer or the values of the box, and the draw."""

    place: Index
    source: Initializer | NDArray[Any]
    draw: DrawRequest


class LogicalWeight(NamedTuple):
    """A weight of a stored tensor, as if it were stored alone, and the boxes of the weight that the tensor holds."""

    stream: str
    initializer: Initializer | NDArray[Any] | Addend  # an array: these values
    shape: tuple[int, ...]
    axes: str
    boxes: tuple[Overlap, ...]  # (index into the stored tensor, index into the piece), of equal shapes

    @property
    def drawn(self) -> Initializer | None:
        """Return the initializer that draws the weight, or the noise in it; None for known weights."""
        if isinstance(self.initializer, Addend):
            return self.initializer.noise
        return self.initializer if isinstance(self.initializer, Initializer) else None

    @property
    def requires_full_draw(self) -> bool:
        """Return True if a draw of a box must compute the full weight, as for orthogonal weights."""
        return self.drawn is not None and self.drawn.requires_full_draw

    def requests(self, boxes: Sequence[Overlap], dtype: str, key: Key) -> Iterator[Request]:
        """Yield the requests for boxes of the weight, under the key of the model."""
        request = DrawRequest(self.shape, self.axes, dtype, key.fold_in(self.stream))
        if isinstance(self.initializer, Addend):
            yield from self._sums(self.initializer, boxes, request)
            return
        full = None
        if len(boxes) > 1 and self.requires_full_draw:
            assert isinstance(self.initializer, Initializer)
            full = np.empty(self.shape, numpy_dtype(dtype))
            self.initializer.fill(full, request, NUMPY)
        for outer, inner in boxes:
            source = self.initializer
            if full is not None:
                source = full[inner]
            elif not isinstance(source, Initializer):
                source = rounded(np.array(source[inner]), dtype)
            yield Request(outer, source, request._replace(box=normalize_index(inner, self.shape)))

    def _sums(self, addend: Addend, boxes: Sequence[Overlap], request: DrawRequest) -> Iterator[Request]:
        """Yield the requests for boxes of old weights and noise, each of at most `LARGE` weights."""
        full = addend.draw_noise(request) if self.requires_full_draw else None
        for outer, inner in boxes:
            for piece in Pieces(box_shape(normalize_index(inner, self.shape)), LARGE):
                box = normalize_index(place_in(inner, piece.place), self.shape)
                part = request._replace(box=box)
                yield Request(place_in(outer, piece.place), addend.draw(part, full), part)


class Member(NamedTuple):
    """A part of a tensor: its parameter, as if stored alone, its boxes, and its fill."""

    name: str
    shape: tuple[int, ...]
    axes: str | None
    boxes: tuple[Overlap, ...]
    filling: Any


def members(filling: Parts, name: str, shape: tuple[int, ...], axes: str | None) -> Iterator[Member]:
    """Return the parts of a tensor of that name, shape and axes. Raises ValueError for parts that do not fit."""
    axis = filling.axis + len(shape) if filling.axis < 0 else filling.axis
    if not 0 <= axis < len(shape):
        raise ValueError(f"axis of parts must be an axis of shape {shape}, got {filling.axis}")
    if isinstance(filling, Stack):
        return _stacked(filling, name, shape, axes, axis)
    assert isinstance(filling, Split)
    return _side_by_side(filling, name, shape, axes, axis)


def _stacked(filling: Stack, name: str, shape: tuple[int, ...], axes: str | None, axis: int) -> Iterator[Member]:
    size, given = shape[axis], len(filling.fillings)
    if given not in (1, size):
        raise ValueError(f"parts must have a filling for each of {size} indices, got {given}")
    _check_count(size)
    named = _part_name(name, filling.template, filling.replaces)
    own = shape[:axis] + shape[axis + 1 :]
    own_axes = without(axes, len(shape), axis)
    inner = identity_overlap(own).inner
    for i in range(size):
        box = Overlap((*inner[:axis], i, *inner[axis:]), inner)
        yield Member(named.replace("{i}", str(i)), own, own_axes, (box,), filling.fillings[i % given])


def _side_by_side(filling: Split, name: str, shape: tuple[int, ...], axes: str | None, axis: int) -> Iterator[Member]:
    lengths, groups = filling.lengths(shape[axis]), filling.groups
    _check_count(groups)
    every, start = identity_overlap(shape).outer, 0
    part_axes = unpacked(axes, shape, axis, lengths, groups)
    for part, length, own_axes, each in zip(filling.names, lengths, part_axes, filling.fillings, strict=True):
        boxes = []
        for group in range(groups):
            stored, alone = group * sum(lengths) + start, group * length
            outer = (*every[:axis], slice(stored, stored + length), *every[axis + 1 :])
            inner = (*every[:axis], slice(alone, alone + length), *every[axis + 1 :])
            boxes.append(Overlap(outer, inner))
        own = (*shape[:axis], length * groups, *shape[axis + 1 :])
        yield Member(_part_name(name, part, filling.replaces), own, own_axes, tuple(boxes), each)
        start += length


def _part_name(stored: str, part: str, replaces: int | None) -> str:
    """Return the name of a part, which replaces the last components of the stored name."""
    count = sum(component != "{i}" for component in part.split(".")) if replaces is None else replaces
    components = stored.split(".")
    return ".".join([*components[: max(0, len(components) - count)], part])


def _check_count(boxes: int) -> None:
    if boxes > MOST:
        raise ValueError(f"parts must make at most {MOST} boxes of a tensor, got {boxes}")


def pieces(filling: Fill, name: str, shape: tuple[int, ...], axes: str | None) -> list[LogicalWeight]:
    """Return the weights that a fill writes to a tensor; none for `keep`. Raises ValueError if they do not fit."""
    if isinstance(filling, Initializer):
        return [LogicalWeight(name, filling, shape, axes or ROW_MAJOR, (identity_overlap(shape),))]
    if isinstance(filling, Addend):
        filling.check(name, shape, axes or ROW_MAJOR)
        source = filling.array if isinstance(filling, Values) else filling
        return [LogicalWeight(name, source, shape, axes or ROW_MAJOR, (identity_overlap(shape),))]
    if isinstance(filling, Keep):
        return []
    if not isinstance(filling, Parts):
        raise TypeError(f"the fill of {name} must be an initializer, keep, values, parts or loaded, got {filling!r}")
    if isinstance(filling, Stack) and len(filling.fillings) == 1:
        weights = _repeated(filling, name, shape, axes)
    else:
        weights = [piece for member in members(filling, name, shape, axes) for piece in _inside(member)]
    _check_count(sum(len(piece.boxes) for piece in weights))
    return weights


def _inside(member: Member) -> list[LogicalWeight]:
    """Return the weights of a part, with boxes of the full tensor."""
    weights = pieces(member.filling, member.name, member.shape, member.axes)
    if not isinstance(member.filling, Parts):
        return [piece._replace(boxes=member.boxes) for piece in weights]
    _check_count(sum(len(member.boxes) * len(piece.boxes) for piece in weights))
    joined = [[join(*pair) for pair in product(member.boxes, piece.boxes)] for piece in weights]
    return [
        piece._replace(boxes=tuple(box for box in boxes if box is not None))
        for piece, boxes in zip(weights, joined, strict=True)
    ]


def _repeated(filling: Stack, name: str, shape: tuple[int, ...], axes: str | None) -> list[LogicalWeight]:
    """Return the weights of a stack whose layers have one fill: the first layer's weights, moved along the axis."""
    first = next(members(filling, name, shape, axes), None)
    if first is None:
        return []
    axis = filling.axis % len(shape)
    # A character that no name has stands for the index.
    mark = next(chr(code) for code in range(32) if chr(code) not in name)
    named = _part_name(name, filling.template, filling.replaces).replace("{i}", mark)
    return [
        LogicalWeight(
            piece.stream.replace(mark, str(i)),
            piece.initializer,
            piece.shape,
            piece.axes,
            tuple(Overlap((*outer[:axis], i, *outer[axis + 1 :]), inner) for outer, inner in piece.boxes),
        )
        for i, piece in product(range(shape[axis]), _inside(first._replace(name=named)))
    ]

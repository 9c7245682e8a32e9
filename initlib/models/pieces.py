"""Pieces: the weights that lie in a stored tensor, each as it would be alone."""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..axes import Token, parse
from ..dtypes import rounded
from ..key import Key
from ..schemes.initializer import Initializer
from .boxes import Box, Index, join, whole
from .fillings import Split, Stack, Values

__all__ = ["Member", "Piece", "members", "pieces"]

ROW_MAJOR = "..."  # the axes of a weight of which nobody knows more: it is numbered as it is stored
MOST = 2**16  # boxes in one stored tensor


class Piece(NamedTuple):
    """One weight of a stored tensor, as it would be alone, and the boxes of it that the tensor holds."""

    stream: str
    initializer: Initializer | NDArray[Any]  # an array: these values
    shape: tuple[int, ...]
    axes: str
    boxes: tuple[tuple[Index, Index], ...]  # (index into the stored tensor, index into the piece), of equal shapes

    def draw(self, dtype: str, key: Key, index: Index | None = None, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Draw the weight, or a box of it, under the key of the whole model."""
        init = self.initializer
        if isinstance(init, Initializer):
            return init(self.shape, dtype, axes=self.axes, seed=key, name=self.stream, index=index, out=out)
        values = np.array(rounded(init[... if index is None else index], dtype))
        if out is None:
            return values
        out[...] = values
        return out


class Member(NamedTuple):
    """One part of a filling: the tensor that it would be alone, its boxes in the whole, and what fills it."""

    name: str
    shape: tuple[int, ...]
    axes: str | None
    boxes: tuple[Box, ...]
    filling: Any


def members(filling: Split | Stack, name: str, shape: tuple[int, ...], axes: str | None) -> Iterator[Member]:
    """The parts of a tensor of that name, shape and axes. Raises ValueError where they do not fit it."""
    axis = filling.axis + len(shape) if filling.axis < 0 else filling.axis
    if not 0 <= axis < len(shape):
        raise ValueError(f"parts lie along axis {filling.axis}, shape {shape} has {len(shape)} axes")
    yield from (_stacked if isinstance(filling, Stack) else _side_by_side)(filling, name, shape, axes, axis)  # type: ignore[operator]


def _stacked(filling: Stack, name: str, shape: tuple[int, ...], axes: str | None, axis: int) -> Iterator[Member]:
    size, every = shape[axis], whole(shape).outer
    count = len(filling.fillings)
    if count not in (1, size):
        raise ValueError(f"parts have {count} fillings for an axis of size {size}")
    if size > MOST:
        raise ValueError(f"parts of {name} are {size} weights; at most {MOST} are allowed")
    inner = (*every[:axis], *every[axis + 1 :])
    own = (*shape[:axis], *shape[axis + 1 :])
    own_axes = _without(axes, len(shape), axis)
    named = _part_name(name, filling.template, filling.replaces)
    for i in range(size):
        box = Box((*every[:axis], i, *every[axis + 1 :]), inner)
        yield Member(named.replace("{i}", str(i)), own, own_axes, (box,), filling.fillings[i % count])


def _side_by_side(filling: Split, name: str, shape: tuple[int, ...], axes: str | None, axis: int) -> Iterator[Member]:
    lengths, every = filling.lengths(shape[axis]), whole(shape).outer
    groups, group = filling.groups, shape[axis] // filling.groups
    if groups > MOST:
        raise ValueError(f"parts of {name} lie in {groups} groups; at most {MOST} are allowed")
    tokens = _unpacked(axes, shape, axis, lengths, groups)
    start = 0
    for part, length, own_axes, each in zip(filling.names, lengths, tokens, filling.fillings, strict=True):
        boxes = tuple(
            Box(
                (*every[:axis], slice(at + start, at + start + length), *every[axis + 1 :]),
                (*every[:axis], slice(g * length, (g + 1) * length), *every[axis + 1 :]),
            )
            for g, at in enumerate(range(0, groups * group, max(1, group)))
        )
        own = (*shape[:axis], length * groups, *shape[axis + 1 :])
        yield Member(_part_name(name, part, filling.replaces), own, own_axes, boxes, each)
        start += length


def _part_name(stored: str, part: str, replaces: int | None) -> str:
    """The name of a part: in place of the last components of the stored name."""
    count = sum(component != "{i}" for component in part.split(".")) if replaces is None else replaces
    components = stored.split(".")
    return ".".join([*components[: max(0, len(components) - count)], part])


def _token_of(tokens: tuple[Token, ...], ndim: int, axis: int) -> int | None:
    """Which token names the axis; None where it is one of those that `...` stands for."""
    free = next((k for k, token in enumerate(tokens) if token.letter == "..."), len(tokens))
    extra = ndim - len(tokens)  # how many more axes than tokens
    if axis < free:
        return axis
    return axis - extra if axis > free + extra else None


def _text(tokens: list[Token]) -> str:
    """The axes string of tokens."""
    return "".join("".join(f"({n} " for n in token.packed) + token.letter + ")" * len(token.packed) for token in tokens)


def _without(axes: str | None, ndim: int, axis: int) -> str | None:
    """The axes of what lies at one index of an axis."""
    if axes is None:
        return None
    tokens = list(parse(axes))
    token = _token_of(tuple(tokens), ndim, axis)
    if token is not None:
        del tokens[token]
    return _text(tokens) or ROW_MAJOR


def _unpacked(axes: str | None, shape: tuple[int, ...], axis: int, lengths: list[int], groups: int) -> list[str | None]:
    """The axes of each part along an axis: of the kernels packed there, those that the part holds.

    Parts that are not whole kernels have nothing to do with that packing, nor have parts in groups.
    """
    if axes is None:
        return [None] * len(lengths)
    tokens = list(parse(axes))
    at = _token_of(tuple(tokens), len(shape), axis)
    if at is None or not tokens[at].packed:
        return [axes] * len(lengths)
    packed, letter = tokens[at]
    kernel = shape[axis] // packed[0]
    aligned = groups == 1 and all(kernel and length % kernel == 0 for length in lengths)
    found: list[str | None] = []
    for length in lengths:
        count = length // kernel if aligned else 0
        kept = ((count,) if count > 1 else ()) + packed[1:] if aligned else ()
        found.append(_text([*tokens[:at], Token(kept, letter), *tokens[at + 1 :]]))
    return found


def pieces(filling: Any, name: str, shape: tuple[int, ...], axes: str | None) -> list[Piece]:
    """The weights that a filling without functions puts in a tensor; none where it keeps it.

    Raises ValueError where they do not fit it.
    """
    if isinstance(filling, Initializer):
        return [Piece(name, filling, shape, axes or ROW_MAJOR, (tuple(whole(shape)),))]  # type: ignore[arg-type]
    if isinstance(filling, Values):
        if filling.array.shape != shape:
            raise ValueError(f"values have shape {filling.array.shape}, the tensor {name} has {shape}")
        return [Piece(name, filling.array, shape, axes or ROW_MAJOR, (tuple(whole(shape)),))]  # type: ignore[arg-type]
    found: list[Piece] = []
    if isinstance(filling, (Split, Stack)):
        boxes = 0
        for member in members(filling, name, shape, axes):
            for piece in pieces(member.filling, member.name, member.shape, member.axes):
                joined = [join(first, Box(*second)) for first, second in product(member.boxes, piece.boxes)]
                kept = tuple(tuple(box) for box in joined if box is not None)
                boxes += len(kept)
                if boxes > MOST:
                    raise ValueError(f"parts of {name} make more than {MOST} boxes")
                found.append(piece._replace(boxes=kept))  # type: ignore[arg-type]
    return found

"""Tensors as a file or a process holds them: the boxes that are there, and functions that read them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..stream.boxes import Box, Piece, box_index, box_inside, box_shape

Values = NDArray[Any]
Read = Callable[[Piece], Values]  # returns the values of a piece of a held box
Place = tuple[int | slice, ...]  # an index with an entry for each axis


class HeldBox(NamedTuple):
    """A box of a tensor, and the functions that read it, one for each copy that is held.

    A function may return fewer values than the piece has, where a file ends before them.
    """

    box: Box
    copies: tuple[Read, ...]
    computed: bool = False  # of stored tensors, in a dtype that may be wider

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the held box."""
        return box_shape(self.box)

    def place(self, piece: Piece) -> Place:
        """Return the index of a piece of the box in the full tensor."""
        return box_index(box_inside(self.box, piece.place))


@dataclass(frozen=True)
class HeldTensor:
    """A tensor, and the boxes of it that a file or a process holds.

    Attributes:
        names: all names of the tensor.
        shape: the full shape.
        dtype: the name of the dtype.
        boxes: a function that returns the boxes; it raises TypeError, ValueError or RuntimeError if the tensor cannot
            be read.
        fused: True if a compiler may have drawn the weights, and fused the addition of a mean.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    boxes: Callable[[], Sequence[HeldBox]]
    fused: bool = True


def same_bits(first: Values, second: Values) -> NDArray[Any]:
    """Return where two arrays of one dtype have the same bits: NaN equals NaN, and 0 differs from -0."""
    if first.dtype.kind == "c":
        return same_bits(first.real, second.real) & same_bits(first.imag, second.imag)
    bits = f"u{first.dtype.itemsize}"
    return first.view(bits) == second.view(bits)

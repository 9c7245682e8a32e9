"""Tensors as a file or a process holds them: the boxes of the full tensor that are there, and functions to read them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..stream.boxes import Box, box_shape
from .spans import Span

Values = NDArray[Any]
Read = Callable[[Span], Values]  # returns the values of a span of a held box
Index = tuple[int | slice, ...]


class HeldBox(NamedTuple):
    """A box of a tensor, and the functions that read it, one for each copy that is held.

    A function may return fewer values than the span has, where a file ends before them.
    """

    box: Box
    copies: tuple[Read, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of what is held."""
        return box_shape(self.box)

    def index(self, span: Span) -> Index:
        """Return the index of a span of the box in the full tensor."""
        entries = [*span.box, *(slice(0, part.size) for part in self.box[len(span.box) :])]
        return tuple(
            slice(part.start + entry.start * part.step, part.start + entry.stop * part.step, part.step)
            if isinstance(entry, slice)
            else part.start + entry * part.step
            for entry, part in zip(entries, self.box, strict=True)
        )


@dataclass(frozen=True)
class HeldTensor:
    """A tensor of which a file or a process holds some boxes, or all of it.

    Attributes:
        names: all names of the tensor.
        shape: the full shape.
        dtype: the name of the dtype.
        boxes: a function that returns what is held; it raises TypeError, ValueError or RuntimeError if the tensor
            cannot be read.
        exact: True if bits are compared even where engines are only promised to agree to 1e-6.
        computed: True if the values are computed from stored tensors, in any dtype.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    boxes: Callable[[], Sequence[HeldBox]]
    exact: bool = False
    computed: bool = False


def same_bits(first: Values, second: Values) -> NDArray[Any]:
    """Return where two arrays of one dtype have the same bits: NaN is like NaN, and 0 is not like -0."""
    if first.dtype.kind == "c":
        real: NDArray[Any] = same_bits(first.real, second.real) & same_bits(first.imag, second.imag)
        return real
    bits = f"u{first.dtype.itemsize}"
    equal: NDArray[Any] = first.view(bits) == second.view(bits)
    return equal

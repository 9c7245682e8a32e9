"""Pieces of a stored tensor in which a checkpoint is written and compared."""

import math

from ..plans.entry import Entry
from ..schemes.initializer import Initializer
from ..stream.boxes import Pieces


def requires_full_draw(entry: Entry) -> bool:
    """Return whether a box of the tensor costs a full draw, because weights depend on one another (orthogonal)."""
    initializers = (piece.initializer for piece in entry.pieces)
    return any(isinstance(init, Initializer) and init.requires_full_draw for init in initializers)


def spans(entry: Entry, most: int, shape: tuple[int, ...] | None = None) -> Pieces:
    """Return the pieces in which an entry, or a box of that shape, is drawn.

    Each has at most `most` weights; there is one piece if each would cost a full draw.
    """
    shape = entry.parameter.shape if shape is None else shape
    return Pieces(shape, math.prod(shape) if requires_full_draw(entry) else most)

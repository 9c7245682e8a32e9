"""Spans: the pieces of a stored tensor in which a checkpoint is written and compared."""

from ..plans.entry import Entry
from ..schemes.initializer import Initializer
from ..stream.boxes import Pieces


def costs_a_whole(entry: Entry) -> bool:
    """Return whether a box of the tensor costs a full draw, because weights depend on one another (orthogonal)."""
    initializers = (piece.initializer for piece in entry.pieces)
    return any(isinstance(init, Initializer) and init.requires_full_draw for init in initializers)


def spans(entry: Entry, most: int) -> Pieces:
    """Return the pieces in which an entry is drawn, of at most `most` weights; one if a box costs a full draw."""
    size = entry.parameter.size
    return Pieces(entry.parameter.shape, size if costs_a_whole(entry) else most)

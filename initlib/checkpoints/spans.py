"""The pieces of a stored tensor in which a checkpoint is written and compared."""

from ..plans.entry import Entry
from ..schemes.initializer import Initializer
from ..stream.boxes import Pieces


def spans(entry: Entry, most: int) -> Pieces:
    """Return the pieces in which an entry is drawn, of at most `most` weights; one if a box costs a full draw."""
    initializers = (piece.initializer for piece in entry.pieces)
    full = any(isinstance(init, Initializer) and init.requires_full_draw for init in initializers)
    return Pieces(entry.parameter.shape, entry.parameter.size if full else most)

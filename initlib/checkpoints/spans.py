"""Pieces of a stored tensor in which a checkpoint is written and compared."""

import math

from ..plans.entry import Entry
from ..stream.boxes import Pieces


def spans(entry: Entry, most: int, shape: tuple[int, ...] | None = None) -> Pieces:
    """Return the pieces in which an entry, or a box of that shape, is drawn.

    Each has at most `most` weights; there is one piece if each would cost a full draw.
    """
    shape = entry.parameter.shape if shape is None else shape
    return Pieces(shape, math.prod(shape) if entry.requires_full_draw else most)

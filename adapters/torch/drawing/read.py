"""Values in the memory of this process, which a comparison reads piece by piece."""

from torch import Tensor

from initlib.checkpoints.held import HeldBox, Values
from initlib.stream.boxes import Box, Piece

from .memory import check_storage, extent, is_plain, read_array


def held_box(view: Tensor, box: Box) -> HeldBox:
    """Return the box of a tensor that a view of memory holds, on any device. Raises ValueError for freed memory."""
    if is_plain(view):
        check_storage(view, extent(view))

    def read(piece: Piece) -> Values:
        return read_array(view[piece.place])

    return HeldBox(box, (read,))

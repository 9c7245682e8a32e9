"""Values of variables in the memory of this process, which a comparison reads piece by piece."""

# mypy: disable-error-code="import-untyped, misc"
# Keras comes without types, so its classes are Any.

from typing import Any

from keras import ops

from initlib.checkpoints.held import HeldBox, Values
from initlib.stream.boxes import Piece, full_box

from .draw import BACKEND

if BACKEND == "jax":
    from ...jax.drawing.read import held_boxes as boxes_of_array
elif BACKEND == "torch":
    from ...torch.drawing.read import held_box


def held_boxes(variable: Any) -> list[HeldBox]:
    """Return the boxes of a variable that this process holds."""
    if BACKEND == "jax":
        return boxes_of_array(variable.value)
    box = full_box(tuple(variable.shape))
    if BACKEND == "torch":
        return [held_box(variable.value.detach(), box)]

    def read(piece: Piece) -> Values:
        return ops.convert_to_numpy(variable.value[(*piece.place, ...)])

    return [HeldBox(box, (read,))]

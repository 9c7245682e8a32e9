"""What is private in Keras: what a layer holds itself, and how names are made."""

# mypy: disable-error-code="import-untyped"
# Keras comes without types, so its classes are Any.

from typing import Any

from keras.src.layers.rnn.conv_lstm import ConvLSTMCell
from keras.src.utils.naming import to_snake_case

__all__ = ["ConvLSTMCell", "held", "is_weight", "sublayers", "to_snake_case"]


def sublayers(layer: Any) -> list[Any]:
    """The layers right inside a layer, in the order of the model, each once."""
    return list({id(inner): inner for inner in layer._layers}.values())


def held(layer: Any) -> list[Any]:
    """The variables of the layer itself: its weights, then what was made to be no weight. Metrics and seeds are not."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def is_weight(layer: Any, variable: Any) -> bool:
    """Whether the layer made the variable as a weight, trained or, now, frozen."""
    return any(variable is weight for weight in layer._trainable_variables)

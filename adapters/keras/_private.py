"""Private names of Keras: the layers and variables of a layer, the calls of a model, automatic names."""

# mypy: disable-error-code="import-untyped"
# Keras comes without types, so its classes are Any.

from collections.abc import Callable
from typing import Any, NamedTuple

from keras.src.layers.rnn.conv_lstm import ConvLSTMCell as ConvLSTMCell
from keras.src.utils.naming import to_snake_case as to_snake_case


def sublayers(layer: Any) -> list[Any]:
    """Return the layers right inside a layer, in the order of the model, each once; none of another object."""
    return list({id(inner): inner for inner in getattr(layer, "_layers", ())}.values())


def held(layer: Any) -> list[Any]:
    """Return the variables of the layer itself: its weights, then other variables, without metrics and seeds."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def is_weight(layer: Any, variable: Any) -> bool:
    """Return whether the layer made the variable as a weight, trained or, now, frozen."""
    return any(variable is weight for weight in layer._trainable_variables)


def frequencies(layer: Any) -> int:
    """Return the number of frequencies of a spectrogram."""
    return int(layer._fft_length) // 2 + 1


class Node(NamedTuple):
    """A call in a functional model: the operation, its symbolic inputs and outputs, and its arguments."""

    operation: Any
    inputs: list[Any]
    outputs: list[Any]
    fill: Callable[[dict[int, Any]], tuple[Any, Any]]  # returns the arguments, with other tensors by identity


def nodes(model: Any) -> list[Node] | None:
    """Return the calls of a functional or sequential model, in order; None of another model."""
    graph = getattr(model, "_functional", model)
    depths = getattr(graph, "_nodes_by_depth", None)
    if depths is None:
        return None
    return [
        Node(node.operation, node.arguments.keras_tensors, node.outputs, node.arguments.fill_in)
        for depth in sorted(depths, reverse=True)
        for node in depths[depth]
        if not node.is_input
    ]

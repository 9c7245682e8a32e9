"""What is private in Keras: what a layer holds itself, and how names are made."""

# mypy: disable-error-code="import-untyped"
# Keras comes without types, so its classes are Any.

from collections.abc import Callable
from typing import Any, NamedTuple

from keras.src.layers.rnn.conv_lstm import ConvLSTMCell as ConvLSTMCell
from keras.src.utils.naming import to_snake_case as to_snake_case


def sublayers(layer: Any) -> list[Any]:
    """The layers right inside a layer, in the order of the model, each once."""
    return list({id(inner): inner for inner in layer._layers}.values())


def held(layer: Any) -> list[Any]:
    """The variables of the layer itself: its weights, then what was made to be no weight. Metrics and seeds are not."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def is_weight(layer: Any, variable: Any) -> bool:
    """Whether the layer made the variable as a weight, trained or, now, frozen."""
    return any(variable is weight for weight in layer._trainable_variables)


class Node(NamedTuple):
    """One call in a functional model: what is called, the symbolic tensors that it takes and gives, and how."""

    operation: Any
    given: list[Any]
    results: list[Any]
    fill: Callable[[dict[int, Any]], tuple[Any, Any]]  # the arguments, with others in the place of tensors, by identity


def nodes(model: Any) -> list[Node] | None:
    """The calls of a functional or sequential model, in order; None of another."""
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

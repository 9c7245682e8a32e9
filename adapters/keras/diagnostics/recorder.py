"""Recorder of activations: it measures the outputs of layers while a model runs, or adds to them."""

# mypy: disable-error-code="import-untyped"
# Keras comes without types.

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from initlib.diagnostics.measurements import Activation, activation

from .._private import sublayers
from ..models.tensors import walk
from ..models.types import Layer, Tensor
from .arrays import array, is_float


class Recorder:
    """Outputs of the layers in one run, and the arrays to add to them.

    Zeros that are added to an activation have the gradient of the activation, on every backend.
    """

    def __init__(self, added: Sequence[Tensor] | None) -> None:
        self.added = None if added is None else list(added)
        self.rows: list[Activation] = []
        self.activations: dict[int, Tensor] = {}  # by id, in the order of execution
        self.axis: dict[int, int] = {}  # the axis of the units, by the number of axes

    def __call__(self, name: str, layer: Layer, output: Tensor) -> Any:
        flat = keras.tree.flatten(output)
        place = next((k for k, x in enumerate(flat) if is_float(x) and _is_known(x, self.added)), None)
        if place is None or id(flat[place]) in self.activations:
            return output
        x = flat[place]
        if self.added is None:
            axis = self._axis(layer, len(x.shape))
            self.rows.append(activation(name, type(layer).__name__, array(x), axis))
        else:
            x = x + self.added.pop(0)
            flat[place] = x
        self.activations[id(x)] = x
        return keras.tree.pack_sequence_as(output, flat)

    def _axis(self, layer: Layer, ndim: int) -> int:
        if ndim > 2 and getattr(layer, "data_format", None) == "channels_first":
            self.axis[ndim] = 1
        elif getattr(layer, "weights", None):
            self.axis[ndim] = -1
        return self.axis.get(ndim, -1)


def _is_known(x: Tensor, added: Any) -> bool:
    """Return whether a tensor has numbers. Inside a loop or a map it has none, and cannot be changed."""
    if added is not None or keras.backend.backend() == "torch":
        return True
    if keras.backend.backend() == "jax":
        import jax

        return not isinstance(x, jax.core.Tracer)
    return hasattr(x, "numpy")


@contextmanager
def recorded(model: Layer, added: Sequence[Tensor] | None) -> Iterator[Recorder]:
    """Pass the output of every layer of the model to a recorder, inside the context."""
    recorder = Recorder(added)
    replaced: list[tuple[Any, Any]] = []

    def put(name: str, layer: Layer) -> None:
        call = layer.call

        def recording(*args: Any, **kwargs: Any) -> Any:
            return recorder(name, layer, call(*args, **kwargs))

        replaced.append((layer, vars(layer).get("call")))
        object.__setattr__(layer, "call", recording)  # not as an attribute that Keras tracks

    try:
        for name, layer in _layers(model):
            put(name, layer)
        yield recorder
    finally:
        for layer, own in reversed(replaced):
            object.__delattr__(layer, "call")
            if own is not None:
                object.__setattr__(layer, "call", own)


def _layers(model: Layer) -> list[tuple[str, Layer]]:
    """Return the layers and operations of a model, each once, with their names."""
    names = {id(layer): prefix.removesuffix(".") for prefix, layer, _ in walk(model)}  # those of plans
    layers: dict[int, tuple[str, Layer]] = {id(model): (model.name, model)}

    def visit(layer: Layer, path: str) -> None:
        if isinstance(layer, (keras.layers.RNN, keras.layers.Wrapper)):
            return
        for child in (*getattr(layer, "operations", ()), *getattr(layer, "layers", ()), *sublayers(layer)):
            if id(child) not in layers and not isinstance(child, keras.layers.InputLayer):
                name = names.get(id(child), f"{path}{child.name}")
                layers[id(child)] = (name, child)
                visit(child, f"{name}.")

    visit(model, "")
    return list(layers.values())

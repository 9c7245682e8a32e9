"""Operations of a functional model of Keras on a signal, for `initlib.recipes.analytic`."""

# mypy: disable-error-code="import-untyped"
# Keras comes without types.

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from initlib.adapters.common.follower import Follower
from initlib.theory.network import Operation, Times

from .._private import Node, nodes
from ..models.tensors import weights
from ..models.types import Layer, Tensor

# By class: layers and operations of `keras.ops`, because some layers and operations have one name.
SAME = set(
    """Cropping1D Cropping2D Cropping3D Flatten Identity Masking Permute RepeatVector Reshape UpSampling1D UpSampling2D
    UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D BroadcastTo Cast Copy ExpandDims Flip GetItem Moveaxis Pad
    Ravel Repeat Resizing Roll Squeeze StopGradient Swapaxes Tile Transpose""".split()
)
PARTS = {"Split", "ArraySplit", "Unstack"}
JOINS = {"Concatenate", "Stack"}
NORMS = (layers.LayerNormalization, layers.GroupNormalization, layers.RMSNormalization, layers.UnitNormalization)
DROPS = (layers.Dropout, layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D)
PROBE = np.array([-1.7, -0.6, 0.0, 0.4, 2.3], np.float32)


def followed(model: Layer, input_shape: Any = None) -> tuple[list[Operation], list[str]]:
    """Return the operations of the model, and the names of the operations that were not followed."""
    if nodes(model) is None:
        raise TypeError(f"model must be a functional or sequential model of Keras, got {type(model).__name__}")
    follower = _Follower({id(weight.variable): weight.names[0] for weight in weights(model)})
    follower.add_each(model.inputs, "input")
    follower.follow(model)
    return follower.operations, follower.unfollowed


class _Follower(Follower):
    """A recorder of the operations on the inputs of a model."""

    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self.names = names  # of variables, by identity

    def follow(self, model: Layer) -> None:
        """Record all calls of a model whose inputs are known."""
        for node in nodes(model) or ():
            operands = [self.number_of[id(tensor)] for tensor in node.inputs if id(tensor) in self.number_of]
            if nodes(node.operation) is not None:
                for inner, outer in zip(node.operation.inputs, operands, strict=True):
                    self.number_of[id(inner)] = outer
                self.follow(node.operation)
                for inner, outer in zip(node.operation.outputs, node.outputs, strict=True):
                    self.number_of[id(outer)] = self.number_of[id(inner)]
            elif operands:
                self._note(node, operands)

    def _note(self, node: Node, operands: list[int]) -> None:
        layer, result, first = node.operation, node.outputs[0], operands[0]
        name = type(layer).__name__
        if isinstance(layer, layers.Embedding):
            self.add(result, "table", weight=self.names[id(layer.embeddings)], fan_in=1)
        elif isinstance(layer, layers.MultiHeadAttention):
            self._attention(layer, result, operands)
        elif kernels := _kernels(layer):
            # The share of its fan_in that meets an output is below 1 where a transposed convolution strides.
            share = math.prod(1 / stride for stride in layer.strides) if "Transpose" in name else 1.0
            at = first
            for kernel in kernels:
                at = self._kernel(at, kernel, share)
            activation = getattr(layer, "activation", None)
            if activation not in (None, keras.activations.linear):
                at = self.add(None, "function", at, function=_OfArrays(activation))
            self.add(result, "same", at)
        elif isinstance(layer, layers.BatchNormalization):
            self._scaled(result, self.add(None, "norm", first, count=0.0), layer)
        elif isinstance(layer, NORMS):
            self._scaled(result, self.add(None, "norm", first), layer)
        elif isinstance(layer, DROPS):
            self.add(result, "function", first, function=Times((1 - layer.rate) ** -0.5))
        elif "Pool" in name or name in ("Mean", "Max"):
            self._pool(name, layer, node, first)
        elif name in ("Add", "Subtract", "Average") and len(operands) > 1:
            if name == "Subtract":
                operands = [first, self.add(None, "function", operands[1], function=Times(-1.0))]
            at = self.add(result, "sum", *operands)
            if name == "Average":
                self.add(result, "function", at, function=Times(1 / len(operands)))
        elif name == "Multiply" and len(operands) > 1:
            self.add(result, "product", *operands)
        elif name in JOINS:
            sizes = tuple(math.prod(size or 1 for size in tensor.shape) for tensor in node.inputs)
            self.add(result, "concat", *operands, sizes=sizes)
        elif name in PARTS:
            self.add_each(node.outputs, "part", first)
        elif name in SAME:
            self.add(result, "same", first)
        elif len(operands) == 1 and not getattr(layer, "weights", ()) and _is_elementwise(_alone(node)):
            self.add(result, "function", first, function=_alone(node))
        else:
            self.unfollowed.append(layer.name)
            self.add_each(node.outputs, "same", first)

    def _kernel(self, source: int, kernel: Tensor, share: float = 1.0) -> int:
        return self.add(None, "kernel", source, weight=self.names[id(kernel)], count=share)

    def _attention(self, layer: Layer, result: Tensor, operands: list[int]) -> None:
        """Record the projections of an attention, whose output has the mean square of its values."""
        query, value = operands[0], operands[min(1, len(operands) - 1)]
        key = operands[2] if len(operands) > 2 else value
        self._kernel(query, layer.query_dense.kernel)
        self._kernel(key, layer.key_dense.kernel)
        at = self._kernel(value, layer.value_dense.kernel)
        self.add(result, "same", self._kernel(at, layer.output_dense.kernel))

    def _scaled(self, result: Tensor, at: int, layer: Layer) -> None:
        gamma = getattr(layer, "gamma", getattr(layer, "scale", None))
        size = 1.0
        if isinstance(gamma, keras.Variable):
            size = float(np.sqrt(np.mean(np.square(keras.ops.convert_to_numpy(gamma.value), dtype=np.float64))))
        self.add(result, "function", at, function=Times(size))

    def _pool(self, name: str, layer: Layer, node: Node, first: int) -> None:
        sizes = [[size or 1 for size in tensor.shape] for tensor in (node.inputs[0], node.outputs[0])]
        count = math.prod(sizes[0]) / math.prod(sizes[1])
        if not name.startswith("Global") and hasattr(layer, "pool_size"):  # windows may overlap
            count = math.prod(layer.pool_size)
        kind = "maximum" if "Max" in name else "average"
        if name == "Mean" and len(sizes[0]) < 4 and sizes[0][-1] != sizes[1][-1]:
            kind = "average of units"
        self.add(node.outputs[0], kind, first, count=float(count))


def _kernels(layer: Layer) -> list[Tensor]:
    """Return the kernels that a layer applies one after the other."""
    if isinstance(layer, layers.RNN):
        return []
    names = ("depthwise_kernel", "pointwise_kernel", "kernel", "_kernel")
    by_id = {id(kernel): kernel for name in names if isinstance(kernel := getattr(layer, name, None), keras.Variable)}
    return list(by_id.values())


@dataclass(frozen=True)
class _OfArrays:
    """A function of a tensor as a function of a NumPy array; equal functions are measured once."""

    function: Any

    def __call__(self, x: Tensor) -> Any:
        return keras.ops.convert_to_numpy(self.function(keras.ops.convert_to_tensor(x.astype(np.float32))))


def _alone(node: Node) -> _OfArrays:
    """Return a call of a layer or operation as a function of its one input."""
    operation = node.operation
    call = operation.call if isinstance(operation, layers.Layer) else operation

    def of_input(tensor: Tensor) -> Tensor:
        args, kwargs = node.fill({id(node.inputs[0]): tensor})
        return call(*args, **kwargs)

    return _OfArrays(of_input)


def _is_elementwise(function: _OfArrays) -> bool:
    """Return whether each output is a function of the input at its place."""
    try:
        values = function(PROBE)
        return values.shape == PROBE.shape and np.allclose(
            values, np.concatenate([function(PROBE[k : k + 1]) for k in range(5)])
        )
    except Exception:  # the operation does not accept these shapes
        return False

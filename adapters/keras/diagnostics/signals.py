"""Signals: measurements of a model of Keras on one batch, forward and backward, on any backend."""

# mypy: disable-error-code="import-untyped"
# Keras and TensorFlow come without types.

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from initlib._arguments import positive
from initlib._public import public
from initlib.adapters.common.roles import UNKNOWN
from initlib.adapters.common.signals import batch_of, report, scalar_loss
from initlib.diagnostics.audit.audit import Audit, audit_tensors
from initlib.diagnostics.measurements import Activation, activation, gradient_of, numbered
from initlib.diagnostics.signals import SignalReport
from initlib.files.readers.stored_tensor import StoredTensor

from .._private import sublayers
from ..models.layers import layer_roles
from ..models.tensors import ModelTensor, walk, weights
from ..models.types import Layer, Tensor


@public("initlib.adapters.keras")
def signals(
    model: Layer,
    batch: Any,
    loss: Callable[[Any], Any] | None = None,
    *,
    learning_rate: float | None = None,
    training: bool = True,
) -> SignalReport:
    """Measure every activation and trainable variable of a model on a batch, forward and backward.

    An activation is the output of a layer, or of an operation of a functional model, in the order of execution. An
    operation that runs again is named "relu#2". The steps inside an RNN or a wrapper are not measured. Variables, seeds
    and statistics are restored, after an exception too.

    Args:
        model: a built model.
        batch: the inputs of the model, or a shape for standard normal inputs, which are the same in every framework.
        loss: a function of the model's output that returns one number; None is the mean square of the output.
        learning_rate: if given, the report has the update:data ratio of a step of gradient descent.
        training: passed to the model. With True, batch normalization uses the statistics of the batch, as at the start
            of training.

    Returns:
        The report on activations and variables, with a verdict on each.

    Raises:
        ValueError: the model is not built, or the loss is not one number.

    Example:
        >>> import keras
        >>> import initlib.adapters.keras as init
        >>> dense = keras.layers.Dense
        >>> layers = [keras.Input((8,)), dense(64, "relu", name="hidden"), dense(1, name="out")]
        >>> report = init.signals(keras.Sequential(layers), (32, 8))  # standard normal inputs of that shape
        >>> [row.name for row in report.activations], [row.name for row in report.parameters]
        (['hidden', 'out'], ['hidden.kernel', 'hidden.bias', 'out.kernel', 'out.bias'])
    """
    if not model.built:
        raise ValueError(f"model must be built, got {model.name!r} without variables. Call the model once, or build it")
    if learning_rate is not None:
        learning_rate = positive(learning_rate, "learning_rate")
    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, batch_of(batch))
    trained = model.trainable_variables
    values = [variable.value for variable in trained]
    takes = inspect.signature(model.call).parameters
    keywords = {"training": training} if "training" in takes else {}

    def run(values: Sequence[Tensor], added: Sequence[Tensor] | None) -> tuple[Tensor, "_Tap"]:
        fixed = [variable.value for variable in model.non_trainable_variables]
        with _chance_restored(), _tapped(model, added) as tap:
            output, _ = model.stateless_call(values, fixed, inputs, **keywords)
            return _loss(output, loss), tap

    value, tap = run(values, None)
    zeros = [keras.ops.zeros(row.shape, dtype) for row, dtype in zip(tap.rows, tap.dtypes, strict=True)]
    count = len(values)
    gradients = _gradients(lambda given: run(given[:count], given[count:])[0], [*values, *zeros])
    rows = [
        row if gradient is None else replace(row, **gradient_of(_array(gradient)))
        for row, gradient in zip(tap.rows, gradients[count:], strict=True)
    ]
    by_variable = {id(variable): gradient for variable, gradient in zip(trained, gradients, strict=False)}
    measured = [
        (weight.names[0], _array(weight.variable), _array(by_variable[id(weight.variable)]), _axes(weight))
        for weight in weights(model)
        if id(weight.variable) in by_variable
    ]
    batch_floats = list(map(_array, _floats(inputs)))
    return report(numbered(rows), measured, batch_floats, float(_array(value)), loss, learning_rate)


@public("initlib.adapters.keras")
def audit(model: Layer, *, axes: str | None = None) -> Audit:
    """Audit the weights of a model or layer: see `initlib.audit`.

    Args:
        model: a built model or layer.
        axes: the axes of variables whose layer does not state them.

    Returns:
        The measured statistics and the scheme of each variable.

    Example:
        >>> import keras
        >>> import initlib.adapters.keras as init
        >>> layer = keras.layers.Dense(128, kernel_initializer=init.HeNormal(seed=0), use_bias=False)
        >>> layer.build((None, 64))
        >>> init.audit(layer).tensors[0].scheme
        'he_normal'
    """
    tensors = (
        StoredTensor.of(weight.names[0], _array(weight.variable), axes=_axes(weight)) for weight in weights(model)
    )
    return audit_tensors([("", "...IO", tensors)], axes)


def _axes(weight: ModelTensor) -> str | None:
    """Return the roles of the axes of a variable, if its layer states them."""
    return layer_roles(weight.layer).get(weight.variable.name, UNKNOWN).axes


def _array(x: Tensor) -> Any:
    """Return the numbers of a tensor or variable, for NumPy; None for None."""
    if x is None:
        return None
    array = np.asarray(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(x)))
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def _is_float(x: Tensor) -> bool:
    return keras.ops.is_tensor(x) and "float" in keras.backend.standardize_dtype(x.dtype)


def _floats(tree: Any) -> list[Tensor]:
    """Return the tensors of floats in a structure."""
    return list(filter(_is_float, keras.tree.flatten(tree)))


def _loss(output: Tensor, loss: Callable[[Any], Any] | None) -> Tensor:
    def mean_square(x: Tensor) -> Tensor:
        return keras.ops.mean(keras.ops.square(keras.ops.cast(x, "float32")))

    return keras.ops.reshape(scalar_loss(output, loss, _floats(output), mean_square), ())


def _gradients(function: Callable[[list[Tensor]], Tensor], values: list[Tensor]) -> list[Tensor]:
    """Return the gradients of a scalar function of tensors; None if it does not depend on a tensor."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return list(jax.grad(function)(values))
    if backend == "tensorflow":
        import tensorflow as tf

        values = [tf.convert_to_tensor(value) for value in values]
        with tf.GradientTape() as tape:
            tape.watch(values)
            result = function(values)
        return [None if g is None else tf.convert_to_tensor(g) for g in tape.gradient(result, values)]
    import torch

    leaves = [value.detach().clone().requires_grad_() for value in values]
    with torch.enable_grad():
        return list(torch.autograd.grad(function(leaves), leaves, allow_unused=True))


def _chance_restored() -> AbstractContextManager[None]:
    """Restore the state of PyTorch's random generator, which dropout uses on that backend."""
    if keras.backend.backend() != "torch":
        return nullcontext()
    import torch

    return torch.random.fork_rng()


# The zeros that are added to an activation have its gradient. This works on all backends.


class _Tap:
    """Outputs of the layers in one run, and the changes to add to them."""

    def __init__(self, added: Sequence[Tensor] | None) -> None:
        self.added = None if added is None else list(added)
        self.rows: list[Activation] = []
        self.dtypes: list[str] = []
        self.known: set[int] = set()
        self.kept: list[Tensor] = []  # references, so that no other tensor gets the same id
        self.axis: dict[int, int] = {}  # the axis of the units, by the number of axes

    def __call__(self, name: str, layer: Layer, output: Tensor) -> Any:
        flat = keras.tree.flatten(output)
        place = next((k for k, x in enumerate(flat) if _is_float(x) and _is_known(x, self.added)), None)
        if place is None or id(flat[place]) in self.known:
            return output
        x = flat[place]
        if self.added is None:
            axis = self._axis(layer, len(x.shape))
            self.rows.append(activation(name, type(layer).__name__, _array(x), axis))
            self.dtypes.append(keras.backend.standardize_dtype(x.dtype))
        else:
            x = x + self.added.pop(0)
            flat[place] = x
        self.known.add(id(x))
        self.kept.append(x)
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
def _tapped(model: Layer, added: Sequence[Tensor] | None) -> Iterator[_Tap]:
    """Pass the output of every layer of the model to a tap, inside the context."""
    tap = _Tap(added)
    tapped: list[tuple[Any, Any]] = []

    def put(name: str, layer: Layer) -> None:
        call = layer.call

        def tapping(*args: Any, **kwargs: Any) -> Any:
            return tap(name, layer, call(*args, **kwargs))

        tapped.append((layer, vars(layer).get("call")))
        object.__setattr__(layer, "call", tapping)  # not as an attribute that Keras tracks

    try:
        for name, layer in _layers(model):
            put(name, layer)
        yield tap
    finally:
        for layer, own in reversed(tapped):
            object.__delattr__(layer, "call")
            if own is not None:
                object.__setattr__(layer, "call", own)


def _layers(model: Layer) -> list[tuple[str, Layer]]:
    """Return the layers and operations of a model, each once, with their names."""
    names = {id(layer): prefix.removesuffix(".") for prefix, layer, _ in walk(model)}  # those of plans
    found: dict[int, tuple[str, Layer]] = {id(model): (model.name, model)}

    def visit(layer: Layer, path: str) -> None:
        if isinstance(layer, (keras.layers.RNN, keras.layers.Wrapper)):
            return
        for child in (*getattr(layer, "operations", ()), *getattr(layer, "layers", ()), *sublayers(layer)):
            if id(child) not in found and not isinstance(child, keras.layers.InputLayer):
                name = names.get(id(child), f"{path}{child.name}")
                found[id(child)] = (name, child)
                visit(child, f"{name}.")

    visit(model, "")
    return list(found.values())

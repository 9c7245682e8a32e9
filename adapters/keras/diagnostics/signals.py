"""Signals: measurements of a model of Keras on one batch, forward and backward, on any backend."""

# mypy: disable-error-code="import-untyped"
# Keras and TensorFlow come without types.

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import keras

from initlib._public import public
from initlib.adapters.common.batches import batch_errors_explained, batch_of
from initlib.adapters.common.signals import as_rate, check_gradients, check_loss, report, scalar_loss
from initlib.diagnostics.measurements import gradient_of, numbered
from initlib.diagnostics.signals import SignalReport

from ..models.tensors import weights
from ..models.types import Layer, Tensor
from .arrays import array, axes_of, floats_in
from .recorder import Recorder, recorded

ALLOWED = "the inputs of the model, as tensors or arrays, or a shape"


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

    An activation is the output of a layer, or of an operation of a functional model. Activations are in the order of
    execution. An operation that runs again gets a number: "relu#2". The steps inside an RNN or a wrapper are not
    measured. Variables, seeds and statistics are restored, also after an exception.

    Args:
        model: a built model.
        batch: the inputs of the model, or a shape. A shape gives standard normal inputs, the same in every framework.
        loss: a function of the model's output that returns one number; None is the mean square of the output.
        learning_rate: if given, the report contains the update:data ratio: the std of one step of gradient descent,
            divided by the std of the weights.
        training: the argument `training` of the model. With True, batch normalization uses the statistics of the batch.

    Returns:
        The report on activations and variables, with a verdict on each.

    Raises:
        PlanError: the model is not built.
        ValueError: the loss is not one number or has no gradient.
        TypeError: the loss needs more arguments than the output, the batch is an iterable of batches, or the batch
            holds no arrays and the model fails.

    Example:
        >>> import keras
        >>> import initlib.adapters.keras as init
        >>> dense = keras.layers.Dense
        >>> layers = [keras.Input((8,)), dense(64, "relu", name="hidden"), dense(1, name="out")]
        >>> report = init.signals(keras.Sequential(layers), (32, 8))  # standard normal inputs of that shape
        >>> [row.name for row in report.activations], [row.name for row in report.parameters]
        (['hidden', 'out'], ['hidden.kernel', 'hidden.bias', 'out.kernel', 'out.bias'])
    """
    variables = weights(model)
    learning_rate = as_rate(learning_rate)
    check_loss(loss)
    made = batch_of(batch)
    with batch_errors_explained(batch, "batch", ALLOWED):
        inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, made)
    trained = model.trainable_variables
    values = [variable.value for variable in trained]
    takes = inspect.signature(model.call).parameters
    keywords = {"training": training} if "training" in takes else {}

    def run(values: Sequence[Tensor], added: Sequence[Tensor] | None) -> tuple[Tensor, Recorder]:
        fixed = [variable.value for variable in model.non_trainable_variables]
        with _chance_restored(), recorded(model, added) as recorder:
            with batch_errors_explained(batch, "batch", ALLOWED):
                output, _ = model.stateless_call(values, fixed, inputs, **keywords)
            return _loss(output, loss), recorder

    value, recorder = run(values, None)
    zeros = list(map(keras.ops.zeros_like, recorder.activations.values()))
    count = len(values)
    gradients = _gradients(lambda tensors: run(tensors[:count], tensors[count:])[0], [*values, *zeros])
    check_gradients(loss, gradients)
    rows = [
        row if gradient is None else replace(row, **gradient_of(array(gradient)))
        for row, gradient in zip(recorder.rows, gradients[count:], strict=True)
    ]
    by_variable = {id(variable): gradient for variable, gradient in zip(trained, gradients, strict=False)}
    measured = [
        (weight.names[0], array(weight.variable), array(by_variable[id(weight.variable)]), axes_of(weight))
        for weight in variables
        if id(weight.variable) in by_variable
    ]
    batch_floats = list(map(array, floats_in(inputs)))
    return report(numbered(rows), measured, batch_floats, float(array(value)), loss, learning_rate)


def _loss(output: Tensor, loss: Callable[[Any], Any] | None) -> Tensor:
    def mean_square(x: Tensor) -> Tensor:
        return keras.ops.mean(keras.ops.square(keras.ops.cast(x, "float32")))

    return keras.ops.reshape(scalar_loss(output, loss, floats_in(output), mean_square), ())


def _gradients(function: Callable[[list[Tensor]], Tensor], values: list[Tensor]) -> list[Tensor | None]:
    """Return the gradients of a scalar function of tensors; None for a tensor without influence (0 in JAX)."""
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
        result = function(leaves)
        if not result.requires_grad:
            return len(leaves) * [None]
        return list(torch.autograd.grad(result, leaves, allow_unused=True))


def _chance_restored() -> AbstractContextManager[None]:
    """Restore the state of PyTorch's random generator, which dropout uses on that backend."""
    if keras.backend.backend() != "torch":
        return nullcontext()
    import torch

    return torch.random.fork_rng()

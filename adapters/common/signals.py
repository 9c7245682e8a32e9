"""Parts of `signals` that every adapter shares: the batch, the loss, and the report."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

import initlib
from initlib.diagnostics.measurements import Activation, input_std, parameter
from initlib.diagnostics.signals import SignalReport

Array = NDArray[Any]
Weight = tuple[str, Array, Array | None, str | None]  # the name, the values, the gradient and the axes

ITERABLES = {"DataLoader", "DatasetV2", "PyDataset"}  # classes that yield batches, of PyTorch, TensorFlow and Keras


def batch_of(batch: Any) -> Any:
    """Return the batch; for a shape, standard normal inputs. Raises TypeError for an iterable of batches."""
    if isinstance(batch, Iterator) or not ITERABLES.isdisjoint(cls.__name__ for cls in type(batch).__mro__):
        kind = type(batch).__name__
        raise TypeError(f"batch must be the inputs of one call, got a {kind}. Pass the inputs in next(iter(batch))")
    is_shape = isinstance(batch, tuple) and batch and all(type(size) is int for size in batch)
    return initlib.normal()(batch, seed=0, name="batch") if is_shape else batch


def check_loss(loss: Any) -> None:
    """Raise TypeError unless the loss is None or takes the output of a model alone."""
    if loss is None:
        return
    advice = "Pass targets by loss=lambda output: criterion(output, targets), and all inputs by batch="
    if isinstance(loss, type) or not callable(loss):
        got = f"the class {loss.__name__}" if isinstance(loss, type) else f"a {type(loss).__name__}"
        raise TypeError(f"loss must be a function of the model's output, got {got}. {advice}")
    try:
        signature = inspect.signature(getattr(loss, "forward", loss))
    except ValueError:
        return  # a function in C, without a signature
    try:
        signature.bind(None)
    except TypeError as error:
        name = getattr(loss, "__name__", type(loss).__name__)
        raise TypeError(f"loss must take the model's output alone, got {name}{signature}. {advice}") from error


def scalar_loss(
    output: Any, loss: Callable[[Any], Any] | None, floats: Sequence[Any], mean_square: Callable[[Any], Any]
) -> Any:
    """Return the loss of an output; without `loss`, the mean square of the first array of floats in the output."""
    if loss is not None:
        value = loss(output)
    elif floats:
        value = mean_square(floats[0])
    else:
        raise ValueError(f"the output must hold floats, got {type(output).__name__} without floats. Pass loss=")
    shape = getattr(value, "shape", None)
    if shape is None or math.prod(shape) != 1:
        got = type(value).__name__ if shape is None else tuple(shape)
        raise ValueError(f"loss must return one number, got {got}")
    return value


def report(
    activations: Sequence[Activation],
    weights: Iterable[Weight],
    inputs: Sequence[Array],
    value: float,
    loss: Callable[[Any], Any] | None,
    learning_rate: float | None,
) -> SignalReport:
    """Return the report of a run, from the arrays of floats in the batch (`inputs`) and the loss (`value`)."""
    return SignalReport(
        activations,
        [
            parameter(name, values, gradient, axes=axes, learning_rate=learning_rate)
            for name, values, gradient, axes in weights
        ],
        input_std=input_std(inputs),
        loss=value,
        mean_square_loss=loss is None,
    )

"""Parts of `signals` that every adapter shares: the loss and the report."""

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from initlib._arguments import positive
from initlib.diagnostics.measurements import Activation, input_std, parameter
from initlib.diagnostics.signals import SignalReport

Array = NDArray[Any]
Weight = tuple[str, Array, Array | None, str | None]  # the name, the values, the gradient and the axes


def as_rate(learning_rate: float | None) -> float | None:
    """Return the learning rate, or raise TypeError or ValueError unless it is above 0 or None."""
    return None if learning_rate is None else positive(learning_rate, "learning_rate")


def check_loss(loss: object) -> None:
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
    output: object, loss: Callable[[Any], Any] | None, floats: Sequence[Any], mean_square: Callable[[Any], Any]
) -> Any:
    """Return the loss of an output; without `loss`, the mean square of the first array of floats in the output."""
    if loss is not None:
        value = loss(output)
    elif floats:
        value = mean_square(floats[0])
    else:
        raise ValueError(
            f"the output must hold floats, got {type(output).__name__} without floats. Pass loss=, a function of the "
            "output that returns one number"
        )
    shape = getattr(value, "shape", None)
    if isinstance(value, (int, float, np.generic, np.ndarray)):
        raise ValueError(f"loss must return a tensor of one number, got {_a(value)}. Do not call item() or numpy()")
    if shape is None or math.prod(shape) != 1:
        got = _a(value) if shape is None else f"shape {tuple(shape)}"
        raise ValueError(f"loss must return one number, got {got}. Return a mean or a sum")
    return value


def _a(value: object) -> str:
    """Return the name of the type of a value, after its article."""
    name = type(value).__name__
    return f"an {name}" if name.startswith("int") else f"a {name}"


def check_gradients(loss: Callable[[Any], Any] | None, gradients: Sequence[Any]) -> None:
    """Raise ValueError if a loss of the user has no gradient: each of the gradients is None."""
    if loss is not None and gradients and all(gradient is None for gradient in gradients):
        raise ValueError(
            "loss must depend on the output of the model, got a loss without a gradient. Do not detach the output"
        )


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

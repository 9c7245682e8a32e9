"""Measurements of one activation and of one parameter, the rows of a `SignalReport`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

from numpy.typing import NDArray

from ..axes import canonical, fans, has_fans
from .statistics import channels, mean_absolute, moments, signal, top_singular_value

Array = NDArray[Any]


@dataclass(frozen=True)
class Activation:
    """Measurements of a layer's output and of its gradient; None where there is no gradient."""

    name: str
    owner: str  # the class or the function
    shape: tuple[int, ...]
    width: int  # units: channels, or features
    mean: float
    std: float
    mean_square: float
    dead: float  # the share of units that have the same value for every input
    channel_mean_square: float
    channel_variance: float
    mean_absolute: float
    signal: float  # the part that depends on the input: the std over the batch, as a root mean square over units
    gradient_std: float | None = None
    gradient_norm: float | None = None  # over the full batch
    verdict: str = ""
    reason: str = ""


@dataclass(frozen=True)
class ParameterStats:
    """Measurements of a parameter and of its gradient; None where there is no gradient."""

    name: str
    shape: tuple[int, ...]
    mean: float
    std: float
    mean_square: float
    gradient_std: float | None = None
    gradient_norm: float | None = None
    gradient_ratio: float | None = None  # std of the gradient to std of the weights
    update_ratio: float | None = None  # the same for a step of gradient descent, learning rate * gradient
    top_singular_value: float | None = None  # of the matrix of inputs and field to outputs; of a stack, the largest
    fan_in: int | None = None  # of a parameter of two axes or more
    verdict: str = ""
    reason: str = ""


class GradientFields(TypedDict):
    """Fields of an `Activation` or of `ParameterStats` that measure the gradient."""

    gradient_std: float
    gradient_norm: float


def activation(name: str, owner: str, values: Array, axis: int = -1, gradient: Array | None = None) -> Activation:
    """Measure a layer's output, whose units lie along an axis, and its gradient if it has a gradient.

    >>> import numpy as np
    >>> activation("relu", "ReLU", np.array([[0.0, 1.0], [0.0, 3.0]])).dead
    0.5
    """
    shape = tuple(int(size) for size in values.shape)
    if not values.size:
        raise ValueError(f"the output of {name} must not be empty, got shape {values.shape}. Remove the empty layer")
    units = channels(values, axis)
    row = Activation(
        name, owner, shape, units.width, *moments(values), *units[1:], mean_absolute(values), signal(values, axis)
    )
    return row if gradient is None else replace(row, **gradient_of(gradient))


def gradient_of(gradient: Array) -> GradientFields:
    """Measure a gradient."""
    g = moments(gradient)
    return {"gradient_std": g.std, "gradient_norm": math.sqrt(g.mean_square * gradient.size) if gradient.size else 0.0}


def input_std(inputs: Sequence[Array]) -> float | None:
    """Return the std of the first input that differs between examples; None without inputs.

    Raises ValueError where no input differs, because then no signal can be measured.
    """
    same = [x.ndim > 0 and len(x) > 1 and bool((x == x[:1]).all()) for x in inputs]
    if inputs and all(same):
        raise ValueError(f"batch must hold inputs that differ, got the same input {len(inputs[0])} times")
    return next((moments(x).std for x, constant in zip(inputs, same, strict=True) if not constant), None)


def numbered(rows: Sequence[Activation]) -> list[Activation]:
    """Rename the activations whose name occurs again to "name#2", "name#3"."""
    calls: dict[str, int] = {}
    renamed = []
    for row in rows:
        calls[row.name] = calls.get(row.name, 0) + 1
        renamed.append(row if calls[row.name] == 1 else replace(row, name=f"{row.name}#{calls[row.name]}"))
    return renamed


def parameter(
    name: str,
    values: Array,
    gradient: Array | None = None,
    *,
    axes: str | None = None,
    learning_rate: float | None = None,
) -> ParameterStats:
    """Measure a parameter with the given axes, and its gradient if it has a gradient.

    >>> import numpy as np
    >>> parameter("kernel", np.eye(2), np.eye(2) / 100).gradient_ratio
    0.01
    """
    shape = tuple(int(size) for size in values.shape)
    measured = moments(values)
    row = ParameterStats(name, shape, *measured)
    if values.ndim >= 2 and values.size:
        form = canonical(shape, axes)
        top = max(map(top_singular_value, form.arrange(values).reshape(form.matrices)))
        row = replace(row, top_singular_value=top, fan_in=fans(shape, axes).fan_in if has_fans(axes) else None)
    if gradient is None:
        return row
    fields = gradient_of(gradient)
    ratio = fields["gradient_std"] / measured.std if measured.std else None
    update = None if ratio is None or learning_rate is None else learning_rate * ratio
    return replace(row, **fields, gradient_ratio=ratio, update_ratio=update)

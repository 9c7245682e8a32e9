"""Roles of weights in muP: the growth of each weight from the base model to the model."""

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

from ...axes import fans
from ...plans.fills.parts import Parts
from ...plans.fills.values import Keep, Values
from ...plans.parameter import Parameter
from ...plans.plan import Plan
from ...schemes.initializer import Initializer

Base = Plan | Iterable[Parameter]
Readout = Literal["weight", "multiplier"]
READOUTS = ("weight", "multiplier")


class BaseWeight(NamedTuple):
    """A weight of the base model: its shape, its axes, and its initializer if the base is a plan."""

    shape: tuple[int, ...]
    axes: str | None
    filling: Initializer | Parts | None


class Role(NamedTuple):
    """Role of a weight in muP (hidden, input or output), and the growth of its fan_in, or of the size of an input."""

    name: str
    growth: float
    fan_out_growth: float = 1.0  # of a hidden weight


def parameters_of(model: Base, argument: str) -> list[Parameter]:
    """Return the parameters of a plan, or an iterable of parameters as a list. Raises TypeError."""
    if isinstance(model, Plan):
        return [entry.parameter for entry in model.entries]
    parameters = list(model) if isinstance(model, Iterable) else [model]
    if not all(isinstance(each, Parameter) for each in parameters):
        raise TypeError(
            f"{argument} must be a plan or an iterable of Parameter, got {type(model).__name__}. For a model, pass "
            "initlib.adapters.torch.plan(model, ...), or the plan of another framework's adapter"
        )
    return parameters


def base_weights(base: Base) -> dict[str, BaseWeight]:
    """Return the weights of the base by name: the stored tensors, and the parts that lie in them."""
    weights: dict[str, BaseWeight] = {}
    if not isinstance(base, Plan):
        return {
            name: BaseWeight(each.shape, each.axes, None) for each in parameters_of(base, "base") for name in each.names
        }
    for entry in base.entries:
        own = entry.parameter
        filling = None if isinstance(entry.filling, (Keep, Values)) else entry.filling
        for name in (*own.names, entry.stream):
            weights[name] = BaseWeight(own.shape, own.axes, filling)  # type: ignore[arg-type]
        for piece in entry.pieces:
            initializer = piece.initializer if isinstance(piece.initializer, Initializer) else None
            weights.setdefault(piece.stream, BaseWeight(piece.shape, piece.axes, initializer))
    return weights


def base_weight(weights: dict[str, BaseWeight], parameter: Parameter, caller: str) -> BaseWeight:
    """Return the weight of the base with a parameter's name."""
    weight = weights.get(parameter.name)
    if weight is None:
        raise ValueError(f"base of {caller} must have every parameter of the model, got none named {parameter.name!r}")
    if len(weight.shape) != len(parameter.shape):
        raise ValueError(
            f"base of {caller} must have {parameter.name!r} with {len(parameter.shape)} axes, got {len(weight.shape)}"
        )
    return weight


def role_of(parameter: Parameter, weight: BaseWeight) -> Role:
    """Return the role of a parameter, from the growth of its fans over those of the weight of the base."""
    if parameter.kind == "table":  # rows are looked up: the last axis is the width
        return Role("input", parameter.shape[-1] / weight.shape[-1])
    if parameter.axes is None:
        if sum(a != b for a, b in zip(parameter.shape, weight.shape, strict=True)) > 1:
            raise ValueError(f"axes of {parameter.name!r} must be known, because two axes grow. Pass axes= to the plan")
        return Role("input", parameter.size / math.prod(weight.shape))
    fan_in, fan_out = fans(parameter.shape, parameter.axes)
    base_in, base_out = fans(weight.shape, weight.axes or parameter.axes)
    inputs, outputs = fan_in / base_in, fan_out / base_out
    if inputs == outputs == 1:  # depthwise kernels are vectors, one number for each channel and position
        return Role("input", parameter.size / math.prod(weight.shape))
    if inputs == 1:
        return Role("input", outputs)
    return Role("output", inputs) if outputs == 1 else Role("hidden", inputs, outputs)

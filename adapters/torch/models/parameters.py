"""Parameters: what the modules of a model say of its weights, for a plan."""

from typing import Any

from initlib import Parameter, PlanError, constant, keep

from . import constructor_values as built
from .layers import own_class
from .tensors import Built, ModelTensor

LOST = "what {owner} builds it with cannot be told from memory; build the model in `with skeleton():`"


def parameters(found: list[ModelTensor], witnesses: list[ModelTensor] | None = None) -> list[Parameter]:
    """What a plan is made of. Raises PlanError where axes do not fit their tensors.

    The witnesses are the tensors that show whether memory holds what the model was built with: else all.
    """
    seen = found if witnesses is None else witnesses
    readable = built.as_built((weight.owner, weight.tensor) for weight in seen)
    made, problems = [], []
    for weight in found:
        try:
            made.append(_parameter(weight, readable))
        except ValueError as error:
            problems.append(f"{weight.names[0]}: {error}")
    if problems:
        raise PlanError(problems)
    return made


def _parameter(weight: ModelTensor, readable: bool) -> Parameter:
    tensor, meaning, owner = weight.tensor, weight.meaning, own_class(weight.owner).__name__
    default: Any = meaning.default
    needs = weight.needs
    if not tensor.is_floating_point() and not tensor.is_complex():
        default = keep  # counts, masks, quantized weights: nothing to draw
    elif len(weight.shape) < 2 and needs is None:
        weight.built = _built(weight, readable)
        if weight.built is not None and weight.built.value is not None:
            default = constant(weight.built.value)
        elif default is None and (meaning.kind == "scale" or weight.built is None):
            needs = LOST.format(owner=owner)
    return Parameter(
        weight.names[0],
        weight.shape,
        str(tensor.dtype).removeprefix("torch."),
        meaning.axes,
        meaning.kind,
        owner,
        default,
        tuple(weight.names[1:]),
        weight.padding,
        needs,
    )


def _built(weight: ModelTensor, readable: bool) -> Built | None:
    """What it was built with, as its module remembers it or else, where memory can be believed, as it holds it."""
    for place in weight.places:
        if built.is_recorded(*place):
            return Built(built.recorded_constant(*place))
    return Built(built.constant_of(*weight.places[0])) if readable and weight.flat is None else None

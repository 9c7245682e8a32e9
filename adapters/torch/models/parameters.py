"""Parameters of a plan for the tensors of a model, with the facts about their constructor values."""

from collections.abc import Callable, Hashable, Iterable
from functools import cache, partial

import torch
from torch import Tensor

from initlib import Parameter, PlanError, keep
from initlib.plans.parameter import check_name, renamed
from initlib.plans.rules.constructor_value import ConstructorValue

from . import constructor_values
from .constructor_draws import ConstructorDraw, constructor_draw, draw_facts
from .layers import is_torch, own_class
from .tensors import ModelTensor, dtype_name

NOT_DENSE = "a tensor of layout {layout} cannot be filled. Add the rule {{{name!r}: keep}}"
MAGNITUDE = (
    "the constructor set the magnitudes of the weight norm; a rule would replace these magnitudes by the norms of "
    "drawn weights"
)
OF_SKELETON = (
    "the constructor computed this tensor from weights, which a skeleton does not have. Add a rule, or build the model "
    "without `skeleton()`"
)
UNREADABLE = "Build the model in `with skeleton():`, which records the values that constructors set."


def parameters(tensors: list[ModelTensor], witnesses: Iterable[ModelTensor] | None = None) -> list[Parameter]:
    """Return the parameters of a plan. Raise PlanError where axes do not fit their tensors.

    The witnesses are the tensors that show whether memory still holds constructor values. None means all tensors.
    """
    trains = any(each.stored.requires_grad for each in tensors)
    is_readable = _readable(tensors, tensors if witnesses is None else witnesses)
    templates: dict[Hashable, Parameter] = {}  # by facts: the parameters of repeated layers are copies
    made, problems = [], []
    for each in tensors:
        stored = each.stored
        frozen = trains and each.flat is None and not stored.requires_grad
        recorded = constructor_values.records(each.places)
        if frozen and recorded and is_readable(stored) and not constructor_values.holds(stored, recorded[0]):
            recorded = []  # trained, then frozen: the record states a value that the tensor no longer has
        draw = draw_facts(each.owner, each.attribute, each.role, each.owner_shapes)
        facts = draw, stored.dtype, frozen, each.padding, each.needs, *recorded
        is_determined = each.is_ordinary and each.magnitude is None  # by the facts alone
        try:
            template = templates.get(facts) if is_determined else None
            if recorded and template is not None and template.constructor is not None:
                value = template.constructor
            elif recorded:
                value = constructor_values.from_record(recorded[0], frozen, *constructor_draw(draw))
            else:
                readable = each.flat is None and is_readable(stored)
                value = _unrecorded(stored, constructor_draw(draw), frozen, readable)
            if template is None:
                template = _parameter(each, value, recorded)
                if is_determined:
                    templates[facts] = template
            for name in each.names:
                check_name(name, "name")
            made.append(renamed(template, each.names, value))
        except ValueError as error:
            problems.append(f"{each.names[0]}: {error}")
    if problems:
        raise PlanError(problems)
    return made


def _parameter(tensor: ModelTensor, value: ConstructorValue, recorded: list[constructor_values.Record]) -> Parameter:
    """Return the parameter of a tensor. Raises ValueError where axes do not fit the tensor."""
    role, dtype = tensor.role, tensor.stored.dtype
    # Nothing is drawn for counts, masks and quantized weights.
    fixed = not dtype.is_floating_point and not dtype.is_complex
    return Parameter(
        tensor.names[0],
        tensor.shape,
        dtype_name(tensor.stored),
        role.axes,
        role.kind,
        own_class(tensor.owner).__name__,
        keep if fixed else role.default,
        padding=tensor.padding,
        needs=None if fixed else _needs(tensor, value, recorded),
        constructor=value,
    )


def _needs(tensor: ModelTensor, value: ConstructorValue, recorded: list[constructor_values.Record]) -> str | None:
    """Return the reason that only a rule can fill the tensor, or None."""
    memory = tensor.stored
    if tensor.needs is not None:
        return tensor.needs
    if memory.layout is not torch.strided or memory.is_nested:
        layout = "torch.nested" if memory.is_nested else memory.layout
        return NOT_DENSE.format(layout=layout, name=tensor.names[0])
    if constructor_values.COMPUTED in recorded:
        return OF_SKELETON
    if tensor.magnitude is not None and not value.recorded and value.read is not None:
        return MAGNITUDE if _is_set(tensor.magnitude.tensor, memory) else None
    return None


def _is_set(magnitude: Tensor, direction: Tensor) -> bool:
    """Return whether magnitudes were set on purpose: frozen, or all equal but not the norms of the directions."""
    if direction.requires_grad and not magnitude.requires_grad:
        return True
    if magnitude.numel() < 2 or not bool((magnitude == magnitude.flatten()[0]).all()):
        return False
    axes = [axis for axis, size in enumerate(magnitude.shape) if size == 1]
    norms = torch.linalg.vector_norm(direction.detach(), dim=axes, keepdim=True) if axes else direction.detach().abs()
    return not torch.allclose(norms, magnitude.detach(), rtol=1e-2)


def _unrecorded(memory: Tensor, draw: ConstructorDraw, frozen: bool, readable: bool) -> ConstructorValue:
    """Return the facts about a constructor value without a record."""
    drawn = draw.draws
    if not readable or not constructor_values.has_values(memory):
        return ConstructorValue(
            hint=UNREADABLE, frozen=frozen, draws=drawn, bound=draw.bound, draws_like=draw.draws_like
        )
    if drawn and draw.bound is not None and memory.numel() == 1:
        drawn = abs(float(memory.detach())) <= draw.bound  # a number beyond the bound was set, not drawn
    read = partial(constructor_values.read, memory)
    return ConstructorValue(read, frozen=frozen, draws=drawn, bound=draw.bound, draws_like=draw.draws_like)


def _readable(tensors: list[ModelTensor], witnesses: Iterable[ModelTensor]) -> Callable[[Tensor], bool]:
    """Return a function that tests whether memory still holds constructor values. Its first call reads the model."""

    @cache
    def model_is() -> bool:
        return constructor_values.are_constructor_values(
            constructor_values.Witness(each.owner, each.stored, each.role.kind) for each in witnesses
        )

    @cache
    def has_torch_layers() -> bool:
        return any(is_torch(each.owner) for each in tensors)

    def is_readable(memory: Tensor) -> bool:
        if model_is() or constructor_values.is_written_constant(memory):
            return True
        # In a model without layers of `torch.nn`, zeros in any memory are read, and the plan notes the zeros.
        return not has_torch_layers() and constructor_values.is_zero_matrix(memory)

    return is_readable

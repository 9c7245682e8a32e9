"""The plan of a model, and its initialization: the plan's weights written where the model keeps them."""

from typing import Any

import torch
from torch import nn

from initlib import Plan, PlanError
from initlib._public import public
from initlib._progress import progress
from initlib.adapters.common.selection import Only, plan_selected, selected

from ..drawing.dispatch import Seed, key_of
from . import constructor_values
from .buffers import buffer_names, lost_buffers, reset_buffers
from .fill import check, fill
from .meta_device import materialize, tie
from .tensors import ModelTensor, Modules, model_tensors, parameters, walk
from .transformers import mark

PATIENCE = 2.0  # seconds without a progress bar


@public("initlib.adapters.torch")
def plan(
    module: nn.Module,
    rules: Any = None,
    *,
    default: Any = None,
    rename: Any = None,
    axes: Any = None,
    only: Only = None,
    prefix: str = "",
) -> Plan:
    """Make the plan of a model, which states what fills each of its parameters; nothing is written.

    The modules of `torch.nn` state the axes of their weights themselves, `declare` states those of other modules.

    Args:
        module: the model.
        rules, default, rename, axes: as for `initlib.plan`.
        only, prefix: as for `initialize`.

    Returns:
        The plan.

    Raises:
        PlanError: the plan has problems; the error lists all of them.

    Example:
        >>> from torch import nn
        >>> from initlib import he_normal
        >>> model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        >>> plan(model, he_normal)["0.weight"].parameter.axes
        'OI'
    """
    modules = walk(module, prefix)
    return _plan(modules, model_tensors(modules), only, rules, default=default, rename=rename, axes=axes)[0]


@public("initlib.adapters.torch")
def initialize(
    module: nn.Module,
    rules: Any = None,
    seed: Seed = None,
    *,
    default: Any = None,
    rename: Any = None,
    axes: Any = None,
    device: torch.device | str | None = None,
    only: Only = None,
    prefix: str = "",
) -> Plan:
    """Fill every parameter of a model by rules and by its name.

    The weights of a parameter depend on the seed and on its name, not on devices, shards, wrappers or the rest of the
    model: `initialize(...).draw(seed)` returns the same bits in NumPy. Tied parameters stay tied, padding rows are
    zero, and the buffers of PyTorch's own modules are reset.

    Args:
        module: the model; its parameters are filled in place.
        rules, default, rename, axes: as for `initlib.plan`.
        seed: an integer, a `Key`, a `numpy.random.Generator`, or None for a seed from PyTorch's default generator.
        device: the device on which the weights of a model on the meta device are made (see `skeleton`).
        only: a pattern or names; all other parameters and buffers stay as they are.
            `only=model.load_state_dict(state, strict=False).missing_keys` fills what a checkpoint lacked.
        prefix: the name of the module in a bigger model; the names of the parameters begin with it.

    Returns:
        The plan, which prints as a report.

    Raises:
        PlanError: the plan has problems; the error lists all of them, and nothing is written.

    Example:
        >>> from torch import nn
        >>> from initlib import he_normal, normal
        >>> model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        >>> report = initialize(model, he_normal, seed=0)
        >>> bool((model[0].weight.T.numpy(force=True) == he_normal((784, 128), seed=0, name="0.weight")).all())
        True
        >>> initialize(model, {"2.weight": normal(std=0.01)}, seed=0, default=he_normal)
        Plan(4 parameters, 101,770 weights)
    """
    modules = walk(module, prefix)
    tensors = model_tensors(modules)
    problems = _without_memory(modules, tensors, device)
    try:
        made, buffers = _plan(modules, tensors, only, rules, default=default, rename=rename, axes=axes)
    except PlanError as error:
        raise PlanError([*problems, *error.problems]) from None
    problems += _not_writable(tensors, made)
    if problems:
        raise PlanError(problems)
    key = key_of(seed)
    if device is not None:
        materialize(module, tensors, torch.device(device))
    tie(tensors)
    drawn = [(tensor, entry) for tensor, entry in zip(tensors, made.entries, strict=True) if not entry.kept]
    done, total = 0, sum(tensor.tensor.nbytes for tensor, _ in drawn)
    with torch.no_grad(), progress("initialize", PATIENCE) as advance:
        for tensor, entry in drawn:
            fill(tensor, entry, key)
            done += tensor.tensor.nbytes
            advance(done, total)
    for tensor in tensors:
        if tensor.built is not None:
            constructor_values.record_constant(*tensor.places[0], tensor.built.value)
    reset_buffers(modules, {id(tensor.owner) for tensor, _ in drawn}, buffers, key)
    mark(modules, (tensor.tensor for tensor, _ in drawn))
    return made


def _plan(
    modules: Modules, tensors: list[ModelTensor], only: Only, rules: Any, **options: Any
) -> tuple[Plan, set[str]]:
    """Return the plan, in which tensors that `only` does not select are kept, and the names of selected buffers."""
    known = parameters(tensors)
    chosen, buffers = selected(only, known, buffer_names(modules))
    if not all(chosen):
        # The memory of the other tensors, which may have been loaded, does not show what these hold.
        known = parameters(tensors, [tensor for tensor, each in zip(tensors, chosen, strict=True) if each])
    return plan_selected(known, chosen, rules, **options), buffers


def _without_memory(modules: Modules, tensors: list[ModelTensor], device: torch.device | str | None) -> list[str]:
    """Return the problems of tensors that have no memory, and will have none or lose their values."""
    if device is not None and torch.device(device).type == "meta":
        raise ValueError(f"device must be one with memory, got {device!r}")
    if device is not None:
        return lost_buffers(modules)
    meta = [tensor.names[0] for tensor in tensors if tensor.tensor.is_meta]
    if not meta:
        return []
    names = meta[0] if len(meta) == 1 else f"{meta[0]} and {len(meta) - 1} more"
    return [f"{names}: on the meta device, which has no memory; pass the device for it: initialize(..., device='cpu')"]


def _not_writable(tensors: list[ModelTensor], made: Plan) -> list[str]:
    """Return the problems of tensors whose memory cannot be filled."""
    problems = []
    for tensor, entry in zip(tensors, made.entries, strict=True):
        if tensor.tensor.is_meta and not entry.filled:
            problems.append(f"{tensor.names[0]}: it is kept, at least in part, and on the meta device it has no values")
        try:
            if not entry.kept:
                check(tensor)
        except (TypeError, ValueError, RuntimeError) as error:
            problems.append(f"{tensor.names[0]}: {error}")
    return problems

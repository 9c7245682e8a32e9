"""Initialize: a plan for a model, and its weights put where the model keeps them."""

from typing import Any

import torch
from torch import nn

from initlib import Plan, PlanError
from initlib._public import public
from initlib.adapters.common.selection import Only, plan_selected, selected

from ...common.progress import Progress
from ..drawing.dispatch import Seed, key_of
from . import constructor_values as built
from .buffers import buffer_names, lost_buffers, reset_buffers
from .fill import check, fill
from .materialize import materialize, tie
from .parameters import parameters
from .tensors import ModelTensor, walk, weights
from .transformers import mark


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
    """Make the plan of a model: what fills each of its parameters. Nothing is written.

    >>> from torch import nn
    >>> from initlib import he_normal
    >>> model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    >>> plan(model, he_normal)["0.weight"].parameter.axes
    'OI'

    The modules of `torch.nn` say themselves what their weights' axes mean, `declare` says it of others. A vector whose
    weights are all equal keeps the value that its module was built with. The arguments are those of `initlib.plan`, and
    `only` and `prefix` as for `initialize`. Raises `PlanError`, with all problems that there are.
    """
    return _plan(module, weights(module, prefix), (rules, default, rename, axes), only, prefix)[0]


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
    """Fill every parameter of a model by rules and by its name, and return the plan, which prints as a report.

    >>> from torch import nn
    >>> from initlib import he_normal, normal
    >>> model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    >>> report = initialize(model, he_normal, seed=0)
    >>> bool((model[0].weight.T.numpy(force=True) == he_normal((784, 128), seed=0, name="0.weight")).all())
    True
    >>> initialize(model, {"2.weight": normal(std=0.01)}, seed=0, default=he_normal)
    Plan(4 parameters, 101,770 weights)

    The arguments are those of `initlib.plan`, and `seed`, as for `fill_`. What a weight gets depends on the seed and on
    its name, not on devices, on shards, on wrappers or on what else is in the model: `report.draw(seed)` are the same
    bits in NumPy. Tied parameters stay tied, padding rows are zero, and the buffers of PyTorch's own modules are reset.

    `device` is where the weights of a model on the meta device are made (see `skeleton`). `only`, a pattern or names,
    leaves everything else as it is: `only=model.load_state_dict(state, strict=False).missing_keys` fills what a
    checkpoint lacked. `prefix` is the name of the module in a bigger model, whose names its parameters then have.
    Raises `PlanError` with all problems that there are, before anything is written.
    """
    found = weights(module, prefix)
    problems = _without_memory(module, found, device)
    try:
        made, buffers = _plan(module, found, (rules, default, rename, axes), only, prefix)
    except PlanError as error:
        raise PlanError([*problems, *error.problems]) from None
    problems += _not_writable(found, made)
    if problems:
        raise PlanError(problems)
    key = key_of(seed)
    if device is not None:
        materialize(module, found, torch.device(device))
    tie(found)
    drawn = [(weight, entry) for weight, entry in zip(found, made.entries, strict=True) if not entry.kept]
    with torch.no_grad(), Progress(sum(weight.tensor.numel() for weight, _ in drawn)) as progress:
        for weight, entry in drawn:
            fill(weight, entry, key)
            progress.advance(weight.tensor.numel())
    for weight in found:
        if weight.built is not None:
            built.record_constant(*weight.places[0], weight.built.value)
    reset_buffers(walk(module, prefix), {id(weight.owner) for weight, _ in drawn}, buffers, key)
    mark(module, (weight.tensor for weight, _ in drawn))
    return made


def _plan(module: nn.Module, found: list[ModelTensor], said: Any, only: Only, prefix: str) -> tuple[Plan, set[str]]:
    """The plan, in which what is not meant is kept, and the names of the buffers that are meant."""
    told, (rules, default, rename, axes) = parameters(found), said
    meant, buffers = selected(only, told, buffer_names(walk(module, prefix)))
    if not all(meant):
        # What was loaded into the others shows nothing of the memory of these.
        told = parameters(found, [weight for weight, each in zip(found, meant, strict=True) if each])
    return plan_selected(told, meant, rules, default=default, rename=rename, axes=axes), buffers


def _without_memory(module: nn.Module, found: list[ModelTensor], device: torch.device | str | None) -> list[str]:
    """What to say of tensors that will have no memory, and of what it held."""
    if device is not None and torch.device(device).type == "meta":
        raise ValueError(f"device must be one with memory, got {device!r}")
    if device is not None:
        return lost_buffers(module)
    meta = [weight.names[0] for weight in found if weight.tensor.is_meta]
    if not meta:
        return []
    names = meta[0] if len(meta) == 1 else f"{meta[0]} and {len(meta) - 1} more"
    return [f"{names}: on the meta device, which has no memory; say where to make them: initialize(..., device='cpu')"]


def _not_writable(found: list[ModelTensor], made: Plan) -> list[str]:
    """What to say of tensors whose memory cannot be filled."""
    problems = []
    for weight, entry in zip(found, made.entries, strict=True):
        if weight.tensor.is_meta and not entry.filled:
            problems.append(f"{weight.names[0]}: it is kept, at least in part, and on the meta device it has no values")
        try:
            if not entry.kept:
                check(weight)
        except (TypeError, ValueError, RuntimeError) as error:
            problems.append(f"{weight.names[0]}: {error}")
    return problems

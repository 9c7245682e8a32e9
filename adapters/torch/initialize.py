"""Initialize: a plan for a model, and its weights put where the model keeps them."""

from typing import Any

import torch
from torch import nn

from initlib import Plan, PlanError
from initlib import plan as plan_of

from . import built
from .buffers import lost_buffers, reset_buffers
from .draw import Seed, _key
from .filling import check, fill
from .materialize import materialize, tie
from .parameters import Weight, parameters, weights
from .progress import Progress

__all__ = ["initialize", "plan"]


def plan(module: nn.Module, rules: Any = None, *, default: Any = None, rename: Any = None, axes: Any = None) -> Plan:
    """Make the plan of a model: what fills each of its parameters. Nothing is written.

    >>> from initlib import he_normal
    >>> model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    >>> plan(model, he_normal)["0.weight"].parameter.axes
    'OI'

    The arguments are those of `initlib.plan`. The modules of `torch.nn` say themselves what their weights' axes mean;
    `declare` says it of others. A vector whose weights are all equal keeps the value that its module was built with.
    Raises `PlanError`, with all problems that there are.
    """
    return _plan(weights(module), rules, default, rename, axes)


def _plan(found: list[Weight], rules: Any, default: Any, rename: Any, axes: Any) -> Plan:
    return plan_of(parameters(found), rules, default=default, rename=rename, axes=axes)


def initialize(
    module: nn.Module,
    rules: Any = None,
    seed: Seed = None,
    *,
    default: Any = None,
    rename: Any = None,
    axes: Any = None,
    device: torch.device | str | None = None,
) -> Plan:
    """Fill every parameter of a model by rules and by its name, and return the plan, which prints as a report.

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

    `device` is where the weights of a model on the meta device are made (see `skeleton`). Raises `PlanError` with all
    problems that there are, before anything is written.
    """
    found = weights(module)
    problems = _without_memory(module, found, device)
    try:
        made = _plan(found, rules, default, rename, axes)
    except PlanError as error:
        raise PlanError([*problems, *error.problems]) from None
    problems += _not_writable(found, made)
    if problems:
        raise PlanError(problems)
    key = _key(seed, None, None)
    if device is not None:
        materialize(module, found, torch.device(device))
    tie(found)
    with torch.no_grad(), Progress(sum(weight.tensor.numel() for weight in found)) as progress:
        for weight, entry in zip(found, made.entries, strict=True):
            fill(weight, entry, key)
            progress.advance(weight.tensor.numel())
    for weight in found:
        if weight.built is not None:
            built.record_constant(*weight.places[0], weight.built.value)
    reset_buffers(module, key)
    return made


def _without_memory(module: nn.Module, found: list[Weight], device: torch.device | str | None) -> list[str]:
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


def _not_writable(found: list[Weight], made: Plan) -> list[str]:
    """What to say of tensors whose memory cannot be filled."""
    problems = []
    for weight, entry in zip(found, made.entries, strict=True):
        if weight.tensor.is_meta and not entry.filled:
            problems.append(f"{weight.names[0]}: it is kept, at least in part, and on the meta device it has no values")
        try:
            if not entry.kept:
                check(weight.tensor)
        except (TypeError, ValueError, RuntimeError) as error:
            problems.append(f"{weight.names[0]}: {error}")
    return problems

"""Initialize: the plan of a model, and its weights in the memory of the model."""

from itertools import compress
from typing import NamedTuple

import torch
from torch import nn

from initlib import Parameter, Plan, PlanError
from initlib._collector import pausing_collector
from initlib._progress import progress
from initlib._public import public
from initlib.adapters.common.existing_plan import Stored, fit_plan, refuse_options
from initlib.adapters.common.selection import Only, PlanOptions, keep_others, plan_selected, selected
from initlib.plans.fills.values import Rule
from initlib.plans.types import Axes, Rename, Rules, Unmatched

from .. import _private
from ..drawing.dispatch import Seed, key_of
from . import constructor_values
from .buffers import (
    buffer_names,
    buffer_parameter,
    lost_buffers,
    reset_buffers,
    ruled_buffers,
    sharded_estimates,
)
from .fill import fill
from .meta_device import materialize, tie
from .parameters import parameters
from .problems import (
    changed,
    not_writable,
    overlapping,
    read_from_model,
    restructured,
    runs_functions,
    structure,
)
from .registrations import are_observed
from .state_names import plan_names
from .tensors import ModelTensor, Modules, dtype_name, model_tensors, walk
from .transformers import mark

IN_SKELETON = (
    "initialize and plan must be called outside of `with skeleton():`. Leave the block first, because the modules are "
    "complete only then"
)
PATIENCE = 2.0  # seconds without a progress bar


@public("initlib.adapters.torch")
@pausing_collector
def plan(
    module: nn.Module,
    rules: Rules | None = None,
    *,
    default: Rule | None = None,
    rename: Rename | None = None,
    axes: Axes | None = None,
    only: Only = None,
    prefix: str = "",
    unmatched: Unmatched = "default",
) -> Plan:
    """Make the plan of a model: one fill for each parameter. Nothing is written.

    The axes of the modules of `torch.nn` are known. For your own modules, call `declare`, or pass `axes=`.

    Args:
        module: the model.
        rules, default, rename, axes, unmatched: as for `initlib.plan`.
        only, prefix: as for `initialize`.

    Returns:
        The plan.

    Raises:
        PlanError: the plan has problems; the error lists all problems.
        RuntimeError: the call is in a `with skeleton():` block.
        TypeError: an argument has a wrong type.

    Example:
        >>> from torch import nn
        >>> from initlib import he_normal
        >>> model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        >>> plan(model, he_normal)["0.weight"].parameter.axes
        'OI'
    """
    options: PlanOptions = {"default": default, "rename": rename, "axes": axes, "unmatched": unmatched}
    model = _read(module, prefix, rules, rename)
    before = structure(model.modules) if runs_functions(rules, default, rename) else None
    made = _plan(model, only, rules, options)[0]
    if problems := restructured(module, prefix, before):
        raise PlanError(problems)
    return made


@public("initlib.adapters.torch")
@pausing_collector
def initialize(
    module: nn.Module,
    rules: Rules | Plan | None = None,
    seed: Seed = None,
    *,
    default: Rule | None = None,
    rename: Rename | None = None,
    axes: Axes | None = None,
    device: torch.device | str | None = None,
    only: Only = None,
    prefix: str = "",
    unmatched: Unmatched = "default",
) -> Plan:
    """Fill every parameter of a model by rules and by parameter name.

    The weights of a parameter depend only on the seed, and on the name, shape, axes, dtype and initializer. The weights
    do not depend on devices, shards, wrappers or the rest of the model: `initialize(...).draw(seed)` returns the same
    bits in NumPy. Tied parameters stay tied, and padding rows are 0. The buffers of PyTorch's own modules are reset,
    unless a weight of the module is kept.

    Args:
        module: the model; its parameters are filled in place.
        rules: as for `initlib.plan`, or an existing plan from `plan` or `Plan.load`. The names, shapes and dtypes of an
            existing plan must be those of the model. With `prefix`, the plan may be that of the larger model.
        default, rename, axes, unmatched: as for `initlib.plan`; not allowed with an existing plan.
        seed: an int, a `Key`, a `numpy.random.Generator`, or None for a seed from PyTorch's global CPU generator.
        device: the device for the weights of a model on the meta device (see `skeleton`).
        only: a pattern or names; all other parameters and buffers are kept. Pass
            `only=model.load_state_dict(state, strict=False).missing_keys` to fill the parameters that a checkpoint does
            not contain. Names are the names in plans or in PyTorch's state dictionaries.
        prefix: the name of the module in a larger model. The names of the parameters then begin with this name.

    Returns:
        The plan, which prints as a report.

    Raises:
        PlanError: the plan has problems, or an existing plan does not fit the model; the error lists all problems, and
            nothing is written.
        RuntimeError: the call is in a `with skeleton():` block.
        TypeError: an argument has a wrong type, or may not be given with an existing plan.

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
    options: PlanOptions = {"default": default, "rename": rename, "axes": axes, "unmatched": unmatched}
    model = _read(module, prefix, rules, rename)
    stored = [*model.tensors, *model.buffers]
    problems = _without_memory(model, device)
    before = structure(model.modules) if runs_functions(rules, default, rename) else None
    try:
        if isinstance(rules, Plan):
            refuse_options(**options)
            made, selection = _fitted(model, only, rules, prefix)
        else:
            made, selection = _plan(model, only, rules, options)
    except PlanError as error:
        raise PlanError([*problems, *error.problems]) from None
    filled = [(tensor, entry) for tensor, entry in zip(stored, made.entries, strict=True) if not entry.kept]
    weights = [pair for pair in filled if pair[0].role.kind != "buffer"] if model.buffers else filled
    drawn: dict[int, set[str]] = {}
    for tensor, _ in weights if model.stateful else ():
        drawn.setdefault(id(tensor.owner), set()).add(tensor.attribute)
    problems += [
        *changed(filled if before is None else zip(stored, made.entries, strict=True)),
        *restructured(module, prefix, before),
        *not_writable(stored, made),
        *overlapping(stored, made),
        *read_from_model(filled),
        *sharded_estimates(model.stateful, drawn),
    ]
    if problems:
        raise PlanError(problems)
    key = key_of(seed)
    records = [(tensor, _record(parameter)) for tensor, parameter in selection.parameters if _is_unrecorded(parameter)]
    if device is not None:
        materialize(module, stored, torch.device(device))
    tie(stored)
    with torch.no_grad(), progress("initialize", PATIENCE) as advance:
        fill(weights, key, advance)
    for tensor, value in records:
        constructor_values.record(*tensor.places[0], value)
    if model.stateful:
        keeps = {id(tensor.owner) for tensor, entry in zip(model.tensors, made.entries, strict=False) if entry.kept}
        reset_buffers(model.stateful, drawn, keeps if only is None else (), selection.buffers, key)
    for tensor in model.buffers:
        tensor.refresh()
    with torch.no_grad():
        fill(filled[len(weights) :], key)  # buffers that rules name, also of modules that were reset
    mark(model.modules, (tensor.stored for tensor, _ in filled))
    return made


class _Model(NamedTuple):
    """A model: its modules, its tensors, and the buffers that a plan or a rule names."""

    module: nn.Module
    modules: Modules
    stateful: Modules  # the modules that may hold buffers, or compute a weight from what they store
    tensors: list[ModelTensor]
    buffers: list[ModelTensor]


def _read(module: nn.Module, prefix: str, rules: Rules | Plan | None, rename: Rename | None) -> _Model:
    if are_observed():  # only `skeleton` observes registrations
        raise RuntimeError(IN_SKELETON)
    modules = walk(module, prefix)
    stateful = [(name, part) for name, part in modules if _private.is_stateful(part)]
    return _Model(module, modules, stateful, model_tensors(modules), ruled_buffers(stateful, rules, rename))


class _Selection(NamedTuple):
    """Tensors that `only` selects, each with its parameter, and the names of the selected buffers."""

    parameters: list[tuple[ModelTensor, Parameter]]
    buffers: set[str]


def _plan(model: _Model, only: Only, rules: Rules | None, options: PlanOptions) -> tuple[Plan, _Selection]:
    """Return the plan of the tensors and then the buffers, and the selection. Unselected tensors are kept."""
    ruled = [buffer_parameter(buffer) for buffer in model.buffers]
    facts = parameters(model.tensors)
    only = plan_names(model.module, model.modules, model.tensors, only)
    chosen, selected_buffers = selected(only, [*facts, *ruled], buffer_names(model.stateful))
    pairs = list(compress(zip(model.tensors, facts, strict=True), chosen))
    if len(pairs) < len(model.tensors):
        # Other tensors may have been loaded, and show nothing about the memory of the selected tensors.
        facts = parameters(model.tensors, [tensor for tensor, _ in pairs])
    if only is None and options["unmatched"] == "keep":
        selected_buffers = set()  # the statistics of a trained model
    return plan_selected([*facts, *ruled], chosen, rules, **options), _Selection(pairs, selected_buffers)


def _fitted(model: _Model, only: Only, existing: Plan, prefix: str) -> tuple[Plan, _Selection]:
    """Return an existing plan for the tensors and then the buffers, and the selection. Unselected tensors are kept."""
    tensors = model.tensors
    stored = (Stored(each.names, each.shape, dtype_name(each.tensor)) for each in (*tensors, *model.buffers))
    made = fit_plan(existing, stored, prefix=prefix)
    planned = [entry.parameter for entry in made.entries]
    only = plan_names(model.module, model.modules, tensors, only)
    chosen, selected_buffers = selected(only, planned, buffer_names(model.stateful))
    own = list(compress(tensors, chosen))
    if not all(constructor_values.records(tensor.places) for tensor in own):
        planned = parameters(tensors, own)  # with the constructor values to record
    pairs = list(compress(zip(tensors, planned, strict=False), chosen))
    return keep_others(made, chosen), _Selection(pairs, selected_buffers)


def _is_unrecorded(parameter: Parameter) -> bool:
    """Return whether a parameter has facts about its constructor value that are not from a record."""
    return parameter.constructor is not None and not parameter.constructor.recorded


def _record(parameter: Parameter) -> constructor_values.Record:
    """Return the record of the constructor value that later calls read."""
    assert parameter.constructor is not None
    return constructor_values.as_record(parameter.constructor.record(parameter))


def _without_memory(model: _Model, device: torch.device | str | None) -> list[str]:
    """Return the problems of the meta device: all its tensors, or with `device` the buffers whose values are lost."""
    if device is not None and torch.device(device).type == "meta":
        raise ValueError(f"device must have memory, got {device!r}. Pass 'cpu', 'cuda' or another device")
    if device is not None:
        return lost_buffers(model.modules, {name for buffer in model.buffers for name in buffer.names})
    meta = [tensor.names[0] for tensor in (*model.tensors, *model.buffers) if tensor.stored.is_meta]
    if not meta:
        return []
    names = meta[0] if len(meta) == 1 else f"{meta[0]} and {len(meta) - 1} more"
    return [f"{names}: on the meta device, which has no memory. Pass a device: initialize(..., device='cpu')"]

"""Problems: what prevents the fill of a model, found before anything is written."""

from collections.abc import Iterable
from functools import cache
from operator import itemgetter

from torch import nn

from initlib import Initializer, Plan
from initlib.adapters.common import array_sources
from initlib.plans.entry import Entry
from initlib.plans.fills.values import Filling, Rule
from initlib.plans.types import Rename, Rules

from .. import _private
from ..drawing.memory import addresses
from .fill import check
from .shared_memory import may_overlap, overlaps
from .tensors import ModelTensor, Modules, dtype_name, walk

SHARED = (
    "{name}: shares a part of its memory with {other}{kept}. Keep both: {{{rules}}}, or give one of the two its own "
    "memory: parameter.data = parameter.data.clone()"
)
CHANGED = (
    "{name}: the model changed while its plan was made, and now holds {now}. A function of a rule must not change the "
    "model"
)


def changed(tensors: Iterable[tuple[ModelTensor, Entry]]) -> list[str]:
    """Return a problem for each tensor that changed after the model was read, or that differs from the plan."""
    return [
        CHANGED.format(name=tensor.names[0], now=_now(tensor))
        for tensor, entry in tensors
        if not tensor.is_as_read or not (tensor.is_ordinary or dtype_name(tensor.stored) == entry.parameter.dtype)
    ]


def _now(tensor: ModelTensor) -> str:
    """Return a description of the tensor that the model holds now."""
    held = _private.attribute(*tensor.places[0], None) if tensor.flat is None else tensor.tensor
    if held is None:
        return "no tensor"
    return f"another tensor: {dtype_name(held)}, shape {tuple(held.shape)}, on {held.device}"


def runs_functions(rules: Rules | Plan | None, default: Rule | None, rename: Rename | None) -> bool:
    """Return whether planning may call functions of the user, which may change the model."""
    stated = [default]
    if type(rules) is dict:  # rules that hold no functions are compared in less time than modules
        stated += rules.values()
    elif not (rules is None or isinstance(rules, (Plan, Initializer))):
        return True
    return callable(rename) or not all(rule is None or isinstance(rule, (Initializer, Filling)) for rule in stated)


Structure = dict[str, tuple[nn.Module | None, list[str]]]
_NONE: tuple[nn.Module | None, list[str]] = (None, [])


def structure(modules: Modules) -> Structure:
    """Return every module and the names of its own parameters, by the prefix of these names."""
    return {prefix: (part, list(_private.own_parameters(part))) for prefix, part in modules}


def restructured(module: nn.Module, prefix: str, before: Structure | None) -> list[str]:
    """Return a problem for each module that functions of the user added, removed or replaced, and each new parameter.

    `before` is the structure of the model before planning; None if no function of the user has run.
    """
    if before is None:
        return []
    after = structure(walk(module, prefix))
    problems: list[str] = []
    replaced: tuple[str, ...] = ()
    for place in {**before, **after}:
        (old, old_names), (new, new_names) = before.get(place, _NONE), after.get(place, _NONE)
        if place.startswith(replaced):
            continue  # a module in a module that was replaced
        if old is not new:
            replaced += (place,)
            now = "no module" if new is None else f"another module, of class {type(new).__name__}"
            problems.append(CHANGED.format(name=place.removesuffix(".") or "module", now=now))
        else:
            added = [each for each in new_names if each not in old_names]
            problems += [CHANGED.format(name=f"{place}{each}", now="a new parameter") for each in added]
    return problems


def not_writable(tensors: list[ModelTensor], made: Plan) -> list[str]:
    """Return the problems of tensors whose memory cannot be filled."""
    problems = []
    for tensor, entry in zip(tensors, made.entries, strict=True):
        if tensor.is_ordinary:
            continue
        if tensor.stored.is_meta and not entry.filled:
            problems.append(
                f"{tensor.names[0]}: the plan keeps values, but the meta device has no values. Add a rule with an "
                "initializer"
            )
        try:
            if not entry.kept:
                check(tensor)
        except (TypeError, ValueError, RuntimeError) as error:
            problems.append(f"{tensor.names[0]}: {error}")
    return problems


def overlapping(tensors: list[ModelTensor], made: Plan) -> list[str]:
    """Return a problem for each tensor that would be written over a part of another tensor, which may be kept."""
    if not may_overlap([tensor.address_range for tensor in tensors if tensor.address_range is not None]):
        return []
    readable = [
        (tensor, entry.kept)
        for tensor, entry in zip(tensors, made.entries, strict=True)
        if tensor.address_range is not None and tensor.stored.numel() and tensor.stored.data_ptr()
    ]
    problems = []
    for pair in overlaps([tensor.stored for tensor, _ in readable], [not kept for _, kept in readable]):
        (tensor, _), (other, is_kept) = sorted((readable[each] for each in pair), key=itemgetter(1))
        kept = ", which is kept" if is_kept else ""
        rules = ", ".join(f'"{each.names[0]}{_kind(each)}": keep' for each in (tensor, other))
        problems.append(SHARED.format(name=tensor.names[0], other=other.names[0], kept=kept, rules=rules))
    return problems


def _kind(tensor: ModelTensor) -> str:
    """Return the part of a pattern that a rule for the tensor needs after the name."""
    return ":buffer" if tensor.role.kind == "buffer" else ""


def read_from_model(filled: list[tuple[ModelTensor, Entry]]) -> list[str]:
    """Return a problem for each tensor whose old weights lie in memory of the model that will be written."""

    @cache
    def written() -> list[range]:
        return [addresses(tensor.tensor) for tensor, _ in filled]

    def is_written(array: object) -> bool:
        read = addresses(array)
        return any(read.start < each.stop and each.start < read.stop for each in written() if each)

    return array_sources.read_from_model((entry for _, entry in filled), is_written)

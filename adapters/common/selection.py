"""Selection: the tensors of a model that `only=` selects."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypedDict, Unpack

from initlib.plans.fills.values import keep
from initlib.plans.parameter import Parameter
from initlib.plans.plan import Plan
from initlib.plans.planning import plan
from initlib.plans.rules.patterns import as_pattern
from initlib.plans.text.nearest import nearest
from initlib.plans.types import Axes, Rename, Rule, Rules, Unmatched

Only = str | re.Pattern[str] | Iterable[str] | None


class PlanOptions(TypedDict):
    """Arguments of every `plan` and `initialize`, which are allowed with rules only, not with an existing plan."""

    default: Rule | None
    rename: Rename | None
    axes: Axes | None
    unmatched: Unmatched


def selected(only: Only, parameters: Sequence[Parameter], buffers: Iterable[str]) -> tuple[list[bool], set[str]]:
    """Return a flag for each parameter, True if it is selected, and the names of the selected buffers.

    A pattern selects a parameter if it matches any name of the parameter. A list of names selects a parameter if the
    list contains all names of the parameter. So a tied parameter is not selected if a checkpoint lacks only one of its
    names. Raises ValueError for a name or pattern that matches nothing.
    """
    if only is None:
        return [True] * len(parameters), set(buffers)
    if isinstance(only, (str, re.Pattern)):
        pattern = as_pattern(only, "only")
        matches = [any(pattern.matches(replace(each, name=name)) for name in each.names) for each in parameters]
        if not any(matches):
            every = [name for each in parameters for name in each.names]
            advice = _advice(pattern.text, every)
            raise ValueError(f"only must match a parameter, got {pattern.shown}{advice}")
        return matches, set()
    listed = list(only) if isinstance(only, Iterable) else [only]
    for each in listed:
        if not isinstance(each, str):
            raise TypeError(f"only must be a pattern or names of parameters, got {type(each).__name__}")
    names = set(listed)
    buffer_names = set(buffers)
    present = buffer_names.union(*(each.names for each in parameters))
    for name in sorted(names - present):
        if set(name) & set("*?["):
            raise ValueError(
                f"only must be one pattern or a list of names, got the pattern {name!r} in a list. Pass only={name!r}, "
                "or re.compile(...) for several patterns"
            )
        raise ValueError(f"only must name parameters or buffers, got {name!r}{_advice(name, present)}")
    return [names.issuperset(each.names) for each in parameters], names & buffer_names


def _advice(wanted: str, names: Iterable[str]) -> str:
    """Return the advice for a text that matches no name: the pattern of a module's parameters, or the nearest names."""
    names = list(names)
    if any(name.startswith(f"{wanted}.") for name in names):
        return f', which names a module. Pass only="{wanted}.*" for the parameters of the module'
    return nearest(wanted, names, "names")


def plan_selected(
    parameters: Sequence[Parameter], selection: Sequence[bool], rules: Rules | None, **options: Unpack[PlanOptions]
) -> Plan:
    """Return the plan of a model in which the parameters that are not selected are kept."""
    if all(selection):
        return plan(parameters, rules, **options)
    others_kept = [
        each if is_selected else replace(each, default=keep, needs=None, constructor=None)
        for each, is_selected in zip(parameters, selection, strict=True)
    ]
    return keep_others(plan(others_kept, rules, **options), selection)


def keep_others(made: Plan, selection: Sequence[bool]) -> Plan:
    """Return the plan in which the parameters that are not selected are kept."""
    if all(selection):
        return made
    notes = ("not selected by only",)
    return Plan(
        tuple(
            entry if is_selected else replace(entry, filling=keep, notes=notes)
            for entry, is_selected in zip(made.entries, selection, strict=True)
        )
    )

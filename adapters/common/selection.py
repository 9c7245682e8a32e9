"""Selection: which tensors of a model `only=` means."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from initlib.plans.parameter import Parameter
from initlib.plans.plan import Plan
from initlib.plans.planning import plan
from initlib.plans.rules.hints import nearest
from initlib.plans.rules.patterns import as_pattern
from initlib.plans.rules.values import keep

Only = str | re.Pattern[str] | Iterable[str] | None


def selected(only: Only, parameters: Sequence[Parameter], buffers: Iterable[str]) -> tuple[list[bool], set[str]]:
    """Whether each parameter is meant, and which buffers.

    A pattern means the parameters that it matches by any of their names. Names mean those that have no other name: a
    checkpoint lacks the second name of a tied parameter, and has the parameter. Raises ValueError for what there is
    not.
    """
    if only is None:
        return [True] * len(parameters), set(buffers)
    if isinstance(only, (str, re.Pattern)):
        pattern = as_pattern(only, "only")
        found = [any(pattern.matches(replace(each, name=name)) for name in each.names) for each in parameters]
        if not any(found):
            there = [name for each in parameters for name in each.names]
            raise ValueError(f"only {pattern.text!r} matches nothing{nearest(pattern.text, there, 'names')}")
        return found, set()
    names = set(only)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"only must be a pattern or names, got {only!r}")
    kept = set(buffers)
    known = kept.union(*(each.names for each in parameters))
    for name in sorted(names - known):
        raise ValueError(f"only has {name!r}, which the model has not{nearest(name, known, 'names')}")
    return [names.issuperset(each.names) for each in parameters], names & kept


def plan_selected(
    parameters: Sequence[Parameter],
    meant: Sequence[bool],
    rules: Any,
    *,
    default: Any,
    rename: Any,
    axes: Any,
    unmatched: str = "default",
) -> Plan:
    """The plan of a model of which only some parameters are meant: the others are kept."""
    others_kept = [
        each if of else replace(each, default=keep, needs=None, constructor=None)
        for each, of in zip(parameters, meant, strict=True)
    ]
    made = plan(others_kept, rules, default=default, rename=rename, axes=axes, unmatched=unmatched)
    if all(meant):
        return made
    kept = ("not meant by only",)
    return Plan(
        tuple(
            entry if of else replace(entry, filling=keep, notes=kept)
            for entry, of in zip(made.entries, meant, strict=True)
        )
    )

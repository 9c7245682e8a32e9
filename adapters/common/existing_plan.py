"""An existing plan in place of rules: its entries for the tensors of a model, or all its differences from the model."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple, Unpack

from initlib.adapters.common.selection import PlanOptions
from initlib.plans.entry import Entry
from initlib.plans.parameter import Parameter, renamed
from initlib.plans.plan import Plan
from initlib.plans.text.errors import PlanError, Problem

NOTHING_SHARED = (
    "the plan must have the parameters of the model, got names such as {planned!r} in the plan and {given!r} in the "
    "model. {advice}"
)


class Stored(NamedTuple):
    """Facts about a tensor that an existing plan and a model must share."""

    names: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str


def refuse_options(**options: Unpack[PlanOptions]) -> None:
    """Raise TypeError for an argument that is allowed with rules only, not with an existing plan."""
    for name, value in options.items():
        if value is not None and (name, value) != ("unmatched", "default"):
            raise TypeError(f"{name} must be left out if rules is a Plan, got {value!r}. Pass {name}= to plan(...)")


def fit_plan(made: Plan, model: Iterable[Parameter | Stored], *, prefix: str | None = None) -> Plan:
    """Return the plan with an entry for each tensor of a model, in the order of the model.

    `prefix` is None in an adapter without this argument. Names without the prefix belong to other parts of a larger
    model, and are omitted. Raises PlanError with all differences in names, shapes and dtypes, and with old weights that
    cannot be read.
    """
    tensors = list(map(_stored, model))
    before = f"{prefix.removesuffix('.')}." if prefix else ""
    by_name = {name: entry for entry in made.entries for name in entry.parameter.names if name.startswith(before)}
    unused = dict(by_name)
    problems: list[Problem] = []
    entries: list[Entry] = []
    for stored in tensors:
        entry = next((by_name[name] for name in stored.names if name in by_name), None)
        if entry is None:
            problems.append(Problem(stored.names[0], "the plan has no parameter of this name"))
            continue
        planned = _stored(entry.parameter)
        for name in (*planned.names, *stored.names):
            unused.pop(name, None)
        if planned != stored:
            planned = planned._replace(names=tuple(name for name in planned.names if name.startswith(before)))
            problems += _differences(planned, stored)
            entry = replace(entry, parameter=renamed(entry.parameter, stored.names, None))
        try:
            entry.check_unchanged()
        except (OSError, ValueError) as error:
            problems.append(Problem(stored.names[0], str(error)))
        entries.append(entry)
    if tensors and made.entries and not entries:
        in_plan = [name for entry in made.entries for name in entry.parameter.names]
        in_model = [name for stored in tensors for name in stored.names]
        advice = _advice(in_plan, [name.removeprefix(before) for name in in_model], prefix)
        raise PlanError([NOTHING_SHARED.format(planned=in_plan[0], given=in_model[0], advice=advice)])
    extra = {id(entry): entry for entry in unused.values()}
    for entry in extra.values():
        problems.append(Problem(entry.parameter.name, "the plan has this parameter, and the model does not"))
    if problems:
        raise PlanError.of(problems)
    return made if tuple(entries) == made.entries else Plan(tuple(entries))


def _advice(planned: list[str], given: list[str], prefix: str | None) -> str:
    """Return the advice for a plan and a model that share no name; the names of the model are without the prefix."""
    missing = _common_prefix(given, planned)
    if missing is not None and prefix is not None:
        return f"Pass prefix={missing!r}" if missing else "Leave out prefix="
    larger = _common_prefix(planned, given)
    return f"Pass the part {larger!r} of the model" if larger else "Pass a plan of this model"


def _common_prefix(names: list[str], longer: list[str]) -> str | None:
    """Return the prefix with which at least half of the names are in `longer`; None without such a prefix."""
    known = set(names)
    found: Counter[str] = Counter()
    for name in longer:
        components = name.split(".")
        for depth in range(len(components)):
            found[".".join(components[:depth])] += ".".join(components[depth:]) in known
    prefix, count = max(found.items(), key=lambda each: each[1], default=("", 0))
    return prefix if 0 < len(known) <= 2 * count else None


def _stored(tensor: Parameter | Stored) -> Stored:
    return Stored(tensor.names, tensor.shape, tensor.dtype)


def _differences(planned: Stored, given: Stored) -> list[Problem]:
    """Return a problem for each fact that differs, with the names in order as one text."""
    planned_facts, given_facts = ((" and ".join(sorted(names)), *others) for names, *others in (planned, given))
    return [
        Problem(given.names[0], f"{fact} must be {one}, as in the plan, got {other}")
        for fact, one, other in zip(Stored._fields, planned_facts, given_facts, strict=True)
        if one != other
    ]

"""Differences between two plans, as facts and as text for a reviewer."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from .entry import Entry
from .text.folding import fold, merged, unnumbered
from .text.table import rows

# The fields that are compared; kind, owner and notes change no weight.
FIELDS = ("name", "stream", "shape", "dtype", "axes", "fan_in", "fan_out", "initializer", "std", "tied", "padding")
ADDED, REMOVED, CHANGED = "added", "removed", "changed"
_SIGN = {ADDED: "+ ", REMOVED: "- ", CHANGED: ""}


class FieldChange(NamedTuple):
    """A field of a parameter that differs, with its values before and after."""

    field: str
    before: Any
    after: Any

    def __str__(self) -> str:
        text = f"{self.field} {_text(self.before)} → {_text(self.after)}"
        if self.field == "std" and self.before and self.after:
            text += f" (× {self.after / self.before:.3g})"
        return text


class PlanChange(NamedTuple):
    """A parameter, or a part, that was added, removed or changed; `fields` are the changed fields, or all fields."""

    name: str
    what: str
    fields: tuple[FieldChange, ...]

    @property
    def text(self) -> str:
        """Return the change in words, without the name."""
        if self.what == CHANGED:
            return ", ".join(map(str, self.fields))
        at = 1 if self.what == REMOVED else 2
        texts = {change.field: _text(change[at]) for change in self.fields}
        return f"{self.what} ({texts['shape']} {texts['dtype']}, {texts['initializer']})"


@dataclass(frozen=True)
class PlanDiff:
    """Differences between two plans: empty and false if both plans draw the same weights.

    Attributes:
        changes: a `PlanChange` for each parameter or part that was added, removed or changed.
        compared: the number of parameters of both plans together.

    Example:
        >>> from initlib import Parameter, normal, plan
        >>> layers = [Parameter(f"layers.{i}.up.weight", (64, 64)) for i in range(4)]
        >>> print(plan(layers, normal(std=0.02)).diff(plan(layers, normal(std=0.005))))
        layers.{0..3}.up.weight: initializer normal(std=0.02) → normal(std=0.005), std 0.02 → 0.005 (× 0.25)
        4 changed of 4 parameters
    """

    changes: tuple[PlanChange, ...]
    compared: int

    def __len__(self) -> int:
        return len(self.changes)

    def __iter__(self) -> Iterator[PlanChange]:
        return iter(self.changes)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the changes as dictionaries of name, what, and a pair (before, after) for each changed field.

        Returns:
            A list, empty if nothing differs.

        Example:
            >>> from initlib import Parameter, normal, plan
            >>> first, second = (plan([Parameter("w", (2,))], normal(std=std)) for std in (1.0, 2.0))
            >>> first.diff(second).to_dicts()
            [{'name': 'w', 'what': 'changed', 'initializer': ('normal()', 'normal(std=2)'), 'std': (1.0, 2.0)}]
        """
        return [
            {"name": name, "what": what, **{field: (before, after) for field, before, after in fields}}
            for name, what, fields in self.changes
        ]

    def __str__(self) -> str:
        if not self.changes:
            return f"no difference in {self.compared:,} parameters"
        counts = {what: sum(change.what == what for change in self.changes) for what in (CHANGED, ADDED, REMOVED)}
        total = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        return "\n".join([*_folded(self.changes), f"{total} of {self.compared:,} parameters"])


def _folded(changes: tuple[PlanChange, ...]) -> Iterator[str]:
    """Yield a line for each change. Changes of repeated layers share a line."""
    alike = [
        (change.name, (change.what, re.sub(r"\d+", "#", _names(change)), unnumbered(_other(change))))
        for change in changes
    ]
    for name, places in fold(alike):
        first = changes[places[0]]
        renamed = [
            f"{field} → {', '.join(new for new, _ in fold((changes[at].fields[number].after, None) for at in places))}"
            for number, (field, _, _) in enumerate(first.fields)
            if first.what == CHANGED and field in ("name", "stream")
        ]
        text = ", ".join(filter(None, [*renamed, merged(_other(changes[at]) for at in places)]))
        yield f"{_SIGN[first.what]}{name}: {text}"


def _names(change: PlanChange) -> str:
    return ", ".join(str(each) for each in change.fields if each.field in ("name", "stream") and change.what == CHANGED)


def _other(change: PlanChange) -> str:
    if change.what != CHANGED:
        return change.text
    return ", ".join(str(each) for each in change.fields if each.field not in ("name", "stream"))


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple):
        return ("x" if all(isinstance(each, int) for each in value) else ", ").join(map(str, value)) or "()"
    return str(value)


def diff(before: Iterable[Entry], after: Iterable[Entry]) -> PlanDiff:
    """Return the changes between the entries of two plans, paired by stream, then by name."""
    old, new = list(before), list(after)
    pairs = _pairs(old, new)
    partners = {id(entry) for pair in pairs for entry in pair}
    changes = [change for pair in pairs for change in _changes(*pair)]
    changes += [_all_of(entry, REMOVED) for entry in old if id(entry) not in partners]
    changes += [_all_of(entry, ADDED) for entry in new if id(entry) not in partners]
    return PlanDiff(tuple(changes), len(pairs) + len(old) + len(new) - 2 * len(pairs))


def _pairs(old: list[Entry], new: list[Entry]) -> list[tuple[Entry, Entry]]:
    """Return the pairs of entries of one parameter: of equal stream and name, else of equal stream, else of name."""
    pairs: dict[int, tuple[Entry, Entry]] = {}
    left = list(new)
    for key in (attrgetter("stream", "parameter.name"), attrgetter("stream"), attrgetter("parameter.name")):
        by_key: dict[Any, list[Entry]] = {}
        for entry in left:
            by_key.setdefault(key(entry), []).append(entry)
        for entry in old:
            others = by_key.get(key(entry))
            if id(entry) not in pairs and others:
                pairs[id(entry)] = entry, others.pop(0)
        taken = {id(other) for _, other in pairs.values()}
        left = [entry for entry in left if id(entry) not in taken]
    return [pairs[id(entry)] for entry in old if id(entry) in pairs]


def _facts(entry: Entry) -> tuple[Any, ...]:
    """Return the facts that determine the weights of an entry and their names."""
    parameter = entry.parameter
    own = (parameter.names, parameter.shape, parameter.dtype, parameter.axes, parameter.padding)
    return (*own, entry.stream, entry.filling)


def _changes(old: Entry, new: Entry) -> Iterator[PlanChange]:
    if _facts(old) == _facts(new):
        return
    before, after = _row(old), _row(new)
    fields = list(_field_changes(before, after))
    parts = list(_part_changes(before, after))
    if not fields and not parts:  # facts that the rows do not show: values, or a number that is rounded in print
        fields = [FieldChange("initializer", repr(old.filling), f"other {new.filling!r}")]
    if fields:
        yield PlanChange(old.parameter.name, CHANGED, tuple(fields))
    yield from parts


def _row(entry: Entry) -> dict[str, Any]:
    (row,) = rows([entry])
    return {**row, "tied": entry.parameter.tied or None, "padding": entry.parameter.padding}


def _field_changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[FieldChange]:
    for field in FIELDS:
        if before.get(field) != after.get(field):
            yield FieldChange(field, before.get(field), after.get(field))


def _part_changes(before: dict[str, Any], after: dict[str, Any]) -> Iterator[PlanChange]:
    """Yield the changes of the parts of a tensor that has parts in both plans, by their names."""
    old, new = ({part["name"]: part for part in row["parts"]} for row in (before, after))
    for name in {**old, **new} if old and new else ():
        fields = tuple(_field_changes(old.get(name, {"name": name}), new.get(name, {"name": name})))
        if fields:
            yield PlanChange(f"{before['name']} part {name}", CHANGED, fields)


def _all_of(entry: Entry, what: str) -> PlanChange:
    row = _row(entry)
    pairs = ((field, row.get(field)) for field in FIELDS if row.get(field) is not None)
    fields = (
        FieldChange(name, value, None) if what == REMOVED else FieldChange(name, None, value) for name, value in pairs
    )
    return PlanChange(entry.parameter.name, what, tuple(fields))

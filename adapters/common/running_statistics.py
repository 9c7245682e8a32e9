"""Running statistics: buffers that a model computes from data, and that no plan draws."""

from collections.abc import Iterable

from initlib.plans.entry import Entry
from initlib.plans.text.errors import PlanError

REFUSED = (
    "a statistic, or the state of an optimizer, is never drawn; write '*:buffer': keep before the rule, or another "
    "pattern"
)


def refuse_drawn(statistics: Iterable[Entry]) -> None:
    """Raise PlanError if a rule would draw a statistic. Statistics may be kept, or set to constants or values.

    >>> from initlib import Parameter, normal, plan, zeros
    >>> mean = Parameter("norm.mean", (8,), kind="buffer", default=zeros)
    >>> refuse_drawn(plan([mean], normal()).entries)
    >>> refuse_drawn(plan([mean], {"*": normal()}).entries)
    Traceback (most recent call last):
    initlib.PlanError: the plan has 1 problem:
      - norm.mean: a statistic, or the state of an optimizer, is never drawn; write '*:buffer': keep before the ...
    """
    drawn = [entry.parameter.name for entry in statistics if not _is_constant(entry)]
    if drawn:
        raise PlanError([f"{name}: {REFUSED}" for name in drawn])


def _is_constant(entry: Entry) -> bool:
    return all(getattr(piece.initializer, "factory", "constant") == "constant" for piece in entry.pieces)

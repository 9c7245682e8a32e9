"""Running statistics: buffers that a model computes from data, and that no plan draws."""

from collections.abc import Iterable

from initlib.plans.entry import Entry
from initlib.plans.text.errors import PlanError

REFUSED = (
    "running statistics and states of optimizers cannot be drawn. Put '*:buffer': keep before the rule, or narrow the "
    "pattern of the rule"
)


def refuse_drawn(statistics: Iterable[Entry]) -> None:
    """Raise PlanError if a rule would draw a statistic. A statistic may be kept, or set to values that no seed changes.

    >>> from initlib import Parameter, normal, plan, zeros
    >>> mean = Parameter("norm.mean", (8,), kind="buffer", default=zeros)
    >>> refuse_drawn(plan([mean], normal()).entries)
    >>> refuse_drawn(plan([mean], {"*": normal()}).entries)
    Traceback (most recent call last):
    initlib.PlanError: the plan has 1 problem:
      - norm.mean: running statistics and states of optimizers cannot be drawn. Put '*:buffer': keep before ...
    """
    drawn = [
        entry.parameter.name
        for entry in statistics
        if any(piece.drawn is not None and piece.drawn.is_random for piece in entry.pieces)
    ]
    if drawn:
        raise PlanError([f"{name}: {REFUSED}" for name in drawn])

"""Report of LSUV: the factor of each weight."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .table import Report, number, table


@dataclass(frozen=True)
class ScaledLayer:
    """A weight: the variance of its layer's output before and after scaling, and the factor of the weight."""

    name: str
    owner: str
    before: float | None = None  # None: the layer was not measured
    after: float | None = None
    factor: float = 1.0
    iterations: int = 0
    note: str = ""


class ScalingReport(Report):
    """Report of `lsuv_`: the layers in the order of execution, then the unscaled layers, with the reason.

    Args:
        layers: one row for each weight.
        tolerance: the allowed distance of each variance from 1.

    Example:
        >>> layers = [ScaledLayer("fc.weight", "Linear", 4.0, 1.0, 0.5, 1), ScaledLayer("rnn.weight", "RNN", note="no")]
        >>> print(ScalingReport(layers, tolerance=0.1))
        weight      layer   variance before  after  factor  iterations  note
        fc.weight   Linear  4                1      0.5     1
        rnn.weight  RNN     -                -      1       0           no
        >>> ScalingReport(layers, tolerance=0.1).converged
        True
    """

    def __init__(self, layers: Sequence[ScaledLayer], *, tolerance: float) -> None:
        self.layers, self.tolerance = tuple(layers), tolerance

    @property
    def converged(self) -> bool:
        """Return True if the variance of every measured layer is 1 within the tolerance."""
        return all(layer.after is None or abs(layer.after - 1) <= self.tolerance for layer in self.layers)

    def __str__(self) -> str:
        heads = ["weight", "layer", "variance before", "after", "factor", "iterations", "note"]
        rows = [
            [x.name, x.owner, *map(number, (x.before, x.after, x.factor)), str(x.iterations), x.note]
            for x in self.layers
        ]
        return table(heads, rows)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the layers as dictionaries, fit for JSON."""
        return [asdict(layer) for layer in self.layers]

"""Old models, from which growth recipes start: the shapes of their weights, and what these recipes share."""

import os
from collections.abc import Mapping, Sequence

from numpy.typing import ArrayLike

from ...plans.fills.loaded import loaded
from ...plans.fills.parts import Split
from ...plans.fills.sources import FileSource, array_in
from ...plans.fills.values import Fill
from ...plans.parameter import Parameter
from ...plans.rules.patterns import as_pattern
from ...plans.text.nearest import nearest

Source = str | os.PathLike[str] | Mapping[str, ArrayLike]


class OldModel:
    """Shapes of the weights of an old model, from the headers of its checkpoint."""

    def __init__(self, source: Source) -> None:
        self.source = loaded(source).source
        self.tensors = self.source.open().tensors() if isinstance(self.source, FileSource) else self.source.tensors()

    def __str__(self) -> str:
        return str(self.source)

    def name(self, parameter: Parameter) -> str:
        """Return the first name of a parameter, in alphabetical order, that the source holds."""
        for name in sorted(parameter.names):  # so that a rule's function gives each of the names the same fill
            if name in self.tensors:
                return name
        raise self._missing(parameter.name)

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor of the source."""
        if name not in self.tensors:
            raise self._missing(name)
        return tuple(array_in(self.tensors, name).shape)

    def _missing(self, name: str) -> ValueError:
        return ValueError(f"the source must hold {name!r}{nearest(name, map(str, self.tensors), 'names')}")


def as_patterns(patterns: str | Sequence[str], argument: str) -> list[str]:
    """Return one pattern or several as a list. Raises TypeError, and ValueError for an empty list."""
    if not isinstance(patterns, (str, Sequence)):
        raise TypeError(f"{argument} must be a pattern or a list of patterns, got {patterns!r}")
    every = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in every:
        as_pattern(pattern, argument)
    if not every:
        raise ValueError(f"{argument} must have at least one pattern, got {patterns!r}")
    return every


def side_by_side(fills: Sequence[Fill], axis: int, names: Sequence[str], sizes: Sequence[int] | None = None) -> Fill:
    """Return the fill of a tensor that packs parts along an axis, of equal sizes by default; of one part, its fill."""
    if len(fills) == 1:
        return fills[0]
    return Split(tuple(fills), axis, 0, tuple(names), (1,) * len(fills) if sizes is None else tuple(sizes))

"""Stacks: arrays that hold the same weight of many layers, as `scan` and `vmap` make them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from initlib._arguments import integer
from initlib.plans.entry import Entry
from initlib.plans.packing.logical_weights import LogicalWeight
from initlib.plans.packing.overlaps import Index, Overlap
from initlib.plans.parameter import check_name
from initlib.plans.rules.glob import glob, with_stars

# The place of a layer's weight: an int along each axis of layers, slice(None) along other axes before the last int.
At = tuple[int | slice, ...]
# From the place of a stack to the name of a layer, with the axis of the layers where it is not 0.
Stack = Mapping[str, str | tuple[str, int]]


class Unrolled(NamedTuple):
    """A layer's weight in an array: its place, its name and its shape."""

    at: At
    name: str
    shape: tuple[int, ...]


class Stacks:
    """Stacks of a tree as `stack=` describes them: their places, the names of their layers, the axis of the layers.

    >>> Stacks({"layers": "layers.{i}"}).unrolled("layers.mlp.kernel", (2, 8, 8))[1]
    Unrolled(at=(1,), name='layers.1.mlp.kernel', shape=(8, 8))
    >>> Stacks({"layers": ("layers.{i}", 1)}).unrolled("layers.mlp.kernel", (8, 2, 8))[1].at
    (slice(None, None, None), 1)
    """

    def __init__(self, stack: Stack | None) -> None:
        if stack is not None and not isinstance(stack, Mapping):
            raise TypeError(
                "stack must be a mapping from names in the tree to names with {i}, such as {'layers': 'layers.{i}'}, "
                "got "
                f"{stack!r}"
            )
        self.names: dict[str, str] = {}
        self.axes: dict[str, int] = {}
        for pattern, value in (stack or {}).items():
            name, axis = value if isinstance(value, tuple) and len(value) == 2 else (value, 0)
            stars = glob(check_name(pattern, "stack's pattern")).groups
            if check_name(name, f"stack of {pattern!r}").count("{i}") != 1 or name.count("*") > stars:
                raise ValueError(
                    f"stack of {pattern!r} must be a name with one {{i}} (the number of the layer) and no more * than "
                    f"the pattern, or a pair (name, axis of the layers), got {value!r}"
                )
            self.names[pattern] = name
            self.axes[pattern] = integer(axis, f"the axis in stack of {pattern!r}", least=0)
        self._sizes: dict[str, dict[int, str]] = {pattern: {} for pattern in self.names}

    def weights(self, names: Sequence[str], shape: tuple[int, ...]) -> list[tuple[Unrolled, tuple[str, ...]]]:
        """Return the weights that an array of these names holds, each with its other names."""
        layers, *ties = [self.unrolled(name, shape) for name in names]
        return [(layer, tuple(other.name for other in tied)) for layer, *tied in zip(layers, *ties, strict=True)]

    def unrolled(self, name: str, shape: tuple[int, ...]) -> list[Unrolled]:
        """Return the weights that an array holds. Raises ValueError for an array that lacks the axis of the layers."""
        return list(self._unrolled(Unrolled((), name, shape), tuple(self.names)))

    def _unrolled(self, weight: Unrolled, patterns: tuple[str, ...]) -> Iterator[Unrolled]:
        at, name, shape = weight
        components = name.split(".")
        for depth in range(1, len(components) + 1):
            place, rest = ".".join(components[:depth]), components[depth:]
            for pattern in patterns:
                if not glob(pattern).matches(place):
                    continue
                axis = self.axes[pattern]
                if axis >= len(shape):
                    raise ValueError(
                        f"stack {pattern!r} must have its layers along axis {axis}, got an array of shape {shape}"
                    )
                self._sizes[pattern].setdefault(shape[axis], name)
                others = tuple(each for each in patterns if each != pattern)
                layers = with_stars(self.names[pattern], glob(pattern), place)
                for i in range(shape[axis]):
                    layer = ".".join([layers.replace("{i}", str(i)), *rest])
                    inner = Unrolled(_taken(at, axis, i), layer, shape[:axis] + shape[axis + 1 :])
                    yield from self._unrolled(inner, others)
                return
        yield weight

    def problems(self) -> list[str]:
        """Return the problems of the stacks, after `unrolled` was called for all arrays."""
        problems = []
        for pattern, sizes in self._sizes.items():
            if not sizes:
                problems.append(f"stack {pattern!r} matches nothing")
            elif len(sizes) > 1:
                each = ", ".join(f"{size} in {name}" for size, name in sizes.items())
                problems.append(
                    f"stack {pattern!r} must have the same number of layers in every array, got {each} along axis "
                    f"{self.axes[pattern]}. For another axis, pass {{{pattern!r}: ({self.names[pattern]!r}, 1)}}"
                )
        return problems


def _taken(at: At, axis: int, i: int) -> At:
    """Return the place of layer i along one of the free axes of a place."""
    free = [n for n, each in enumerate(at) if isinstance(each, slice)]
    ahead = [*at, *[slice(None)] * (axis + 1 - len(free))]
    free = [n for n, each in enumerate(ahead) if isinstance(each, slice)]
    ahead[free[axis]] = i
    return tuple(ahead)


def _box(at: At, outer: Index) -> Index:
    """Return a box of a layer's weight as a box of the array."""
    own = iter(outer)
    return (*(next(own) if isinstance(each, slice) else each for each in at), *own)


@dataclass(frozen=True)
class Layers(Entry):
    """An entry of an array that is a stack: the entries of its layers, and their places."""

    layers: tuple[tuple[At, Entry], ...] = ()

    @cached_property
    def pieces(self) -> tuple[LogicalWeight, ...]:
        return tuple(
            piece._replace(boxes=tuple(Overlap(_box(at, outer), inner) for outer, inner in piece.boxes))
            for at, entry in self.layers
            for piece in entry.pieces
        )

    @property
    def kept(self) -> bool:
        return bool(self.layers) and all(entry.kept for _, entry in self.layers)

    @cached_property
    def filled(self) -> bool:
        return all(entry.filled for _, entry in self.layers)

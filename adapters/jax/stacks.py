"""Stacks: arrays that hold the same weight of many layers, as `scan` and `vmap` keep them, layer by layer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from initlib.models.entry import Entry
from initlib.models.overlaps import Overlap
from initlib.models.parameter import check_name
from initlib.models.patterns import glob
from initlib.models.pieces import Piece

__all__ = ["Layers", "Stacks", "Unrolled"]

Unrolled = list[tuple[tuple[int, ...], str]]  # where a layer's weight lies along the first axes, and its name


class Stacks:
    """Which parts of a tree are stacks, and what their layers are called: what `stack=` says.

    >>> Stacks({"layers": "layers.{i}"}).unrolled("layers.mlp.kernel", (2, 8, 8))
    [((0,), 'layers.0.mlp.kernel'), ((1,), 'layers.1.mlp.kernel')]
    """

    def __init__(self, stack: Mapping[str, str] | None) -> None:
        if stack is not None and not isinstance(stack, Mapping):
            raise TypeError(f"stack must be a mapping of places in the tree to names with {{i}}, got {stack!r}")
        self.names: dict[str, str] = {}
        for pattern, name in (stack or {}).items():
            stars = glob(check_name(pattern, "stack's pattern")).groups
            if check_name(name, f"stack of {pattern!r}").count("{i}") != 1 or name.count("*") > stars:
                raise ValueError(
                    f"stack of {pattern!r} must be a name with one {{i}}, the number of the layer, and no more * than "
                    f"the pattern has, got {name!r}"
                )
            self.names[pattern] = name
        self._sizes: dict[str, dict[int, str]] = {pattern: {} for pattern in self.names}

    def unrolled(self, name: str, shape: tuple[int, ...]) -> Unrolled:
        """The weights that an array holds. Raises ValueError for an array that has no axis for them."""
        return list(self._unrolled(name, shape, (), tuple(self.names)))

    def _unrolled(
        self, name: str, shape: tuple[int, ...], at: tuple[int, ...], patterns: tuple[str, ...]
    ) -> Iterator[tuple[tuple[int, ...], str]]:
        components = name.split(".")
        for depth in range(1, len(components) + 1):
            place, rest = ".".join(components[:depth]), components[depth:]
            for pattern in patterns:
                match = glob(pattern).fullmatch(place)
                if match is None:
                    continue
                if not shape:
                    raise ValueError(f"stack {pattern!r} asks for a first axis of layers, and it has none")
                self._sizes[pattern].setdefault(shape[0], name)
                others = tuple(each for each in patterns if each != pattern)
                for i in range(shape[0]):
                    layer = ".".join([_filled(self.names[pattern], match.groups(), i), *rest])
                    yield from self._unrolled(layer, shape[1:], (*at, i), others)
                return
        yield at, name

    def problems(self) -> list[str]:
        """What is wrong with the stacks, once all arrays were asked for."""
        found = []
        for pattern, sizes in self._sizes.items():
            if not sizes:
                found.append(f"stack {pattern!r} matches nothing")
            elif len(sizes) > 1:
                each = ", ".join(f"{size} in {name}" for size, name in sizes.items())
                found.append(f"stack {pattern!r} has layers of different numbers: {each}")
        return found


def _filled(name: str, stars: tuple[str, ...], i: int) -> str:
    """The name with a text in place of each `*`, and the number of the layer."""
    for star in stars[: name.count("*")]:
        name = name.replace("*", star, 1)
    return name.replace("{i}", str(i))


@dataclass(frozen=True)
class Layers(Entry):
    """What fills an array that is a stack: the entries of its layers, at their places along the first axes."""

    layers: tuple[tuple[tuple[int, ...], Entry], ...] = ()

    @cached_property
    def pieces(self) -> tuple[Piece, ...]:
        return tuple(
            piece._replace(boxes=tuple(Overlap((*at, *outer), inner) for outer, inner in piece.boxes))
            for at, entry in self.layers
            for piece in entry.pieces
        )

    @property
    def kept(self) -> bool:
        return bool(self.layers) and all(entry.kept for _, entry in self.layers)

    @cached_property
    def filled(self) -> bool:
        return all(entry.filled for _, entry in self.layers)

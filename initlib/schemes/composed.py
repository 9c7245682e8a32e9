"""Composed: initializers that make a whole weight, or that follow from its indices, in any array library."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..axes import Canonical, Shape, canonical, canonical_shape
from ..draws.runs import Part, box_index
from ..dtypes import rounded
from ..key import Key
from .initializer import Independent, Initializer, Weight

__all__ = ["PIECE", "Composed", "Engine", "Indexed", "NumPyEngine", "compose", "matrices", "wide"]

PIECE = 2**20  # weights that are made at a time, where the way to them takes memory of its own


class Engine(Protocol):
    """Where a composed weight is made: an array library, and draws of one parameter's streams in it."""

    xp: Any  # numpy, or jax.numpy

    def draw(
        self,
        initializer: Independent,
        shape: tuple[int, ...],
        dtype: str,
        name: str | None = None,
        axes: str | None = None,
    ) -> Any:
        """The draw of the parameter's own stream, or of the one of that name inside it."""


class NumPyEngine:
    """`Engine` of NumPy."""

    xp: Any = np

    def __init__(self, key: Key) -> None:
        self.key = key

    def draw(
        self,
        initializer: Independent,
        shape: tuple[int, ...],
        dtype: str,
        name: str | None = None,
        axes: str | None = None,
    ) -> Any:
        return initializer(shape, dtype, axes=axes, seed=self.key, name=name)


class Composed(Initializer):
    """An initializer whose weights depend on one another: the whole weight is made at once, in any array library."""

    @abstractmethod
    def compose(self, shape: tuple[int, ...], axes: str | None, dtype: str, engine: Engine) -> Any:
        """The whole weight, in float32 or wider (float64 for that dtype), of the engine's arrays."""

    def fill(self, out: NDArray[Any], weight: Weight) -> None:
        whole = self.compose(weight.shape, weight.axes, weight.dtype, NumPyEngine(weight.key))
        out[...] = rounded(whole if weight.box is None else whole[box_index(weight.box)], weight.dtype)


class Indexed(Composed):
    """An initializer whose weights follow from their indices alone: nothing is drawn, and a box costs a box."""

    @abstractmethod
    def at(self, shape: tuple[int, ...], axes: str | None, indices: Sequence[Any], xp: Any) -> Any:
        """The weights at the indices of each stored axis, which are open arrays as `numpy.ix_` makes them."""

    def compose(self, shape: tuple[int, ...], axes: str | None, dtype: str, engine: Engine) -> Any:
        xp = engine.xp
        indices = xp.ix_(*(xp.arange(size) for size in shape))
        return self.at(shape, axes, indices, xp).astype(wide(dtype))

    def fill(self, out: NDArray[Any], weight: Weight) -> None:
        rounded(np.array(self.bounds(weight.shape, weight.axes)), weight.dtype)
        box = weight.box or tuple(Part(0, 1, size, False) for size in weight.shape)
        out = out[tuple(None if part.drop else slice(None) for part in box)]
        indices = [part.start + part.step * np.arange(part.size) for part in box]
        # A piece at a time along the longest axis: a large weight needs no second one beside it.
        longest = max(range(len(box)), key=lambda axis: box[axis].size)
        count = max(1, PIECE * box[longest].size // out.size)
        for start in range(0, box[longest].size, count):
            piece = (slice(None),) * longest + (slice(start, start + count),)
            some = [index[start : start + count] if k == longest else index for k, index in enumerate(indices)]
            out[piece] = self.at(weight.shape, weight.axes, np.ix_(*some), np)


def compose(initializer: Initializer, shape: tuple[int, ...], axes: str | None, dtype: str, engine: Engine) -> Any:
    """The whole weight of another initializer, in the engine's arrays."""
    if isinstance(initializer, Independent):
        return engine.draw(initializer, shape, dtype, axes=axes)
    assert isinstance(initializer, Composed)
    return initializer.compose(shape, axes, dtype, engine)


def wide(dtype: str) -> str:
    """What weights of a dtype are composed in, before the last rounding."""
    return "float64" if dtype == "float64" else "float32"


def matrices(initializer: Initializer, shape: Shape, axes: str | None) -> Canonical:
    """The weight taken apart, for a scheme of matrices: it needs two axes."""
    sizes = canonical_shape(shape)
    if len(sizes) < 2:
        raise ValueError(f"{initializer.factory} needs a weight of at least 2 axes, got shape {sizes}")
    return canonical(sizes, axes)

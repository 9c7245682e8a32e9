"""The kinds of initializers: what each does with an engine. A scheme is one of them and adds its formula."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

from .._arguments import Shape, checked_shape
from .._rounding import check_rounding
from ..axes import Canonical, canonical
from ..dtypes import DTYPES, rounded_once
from ..stream.boxes import box_index
from ..stream.distributions import clamped_law
from ..stream.engine import DrawRequest, Engine
from ..stream.law import Law, noise_bits
from .initializer import Initializer, times


class Independent(Initializer):
    """An initializer whose weights are drawn one by one: a law says what becomes of each word."""

    @abstractmethod
    def law(self, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
        """The law of the weights of that shape."""

    def complex_weights(self, weight: DrawRequest, engine: Engine) -> Any:
        """The box of a complex weight, where the scheme has a distribution on the plane."""
        raise not_real(self, weight)

    def weights(self, weight: DrawRequest, engine: Engine) -> Any:
        if DTYPES[weight.dtype].part:
            return self.complex_weights(weight, engine)
        return engine.draw(_law(self, weight.shape, weight.axes, weight.dtype, weight.scale), weight)

    def fill(self, out: Any, weight: DrawRequest, engine: Engine) -> None:
        if DTYPES[weight.dtype].part:
            engine.fill_in_pieces(out, weight, partial(self.complex_weights, engine=engine))
        else:
            engine.fill(out, _law(self, weight.shape, weight.axes, weight.dtype, weight.scale), weight)


@lru_cache(maxsize=4096)
def _law(initializer: Independent, shape: tuple[int, ...], axes: str | None, dtype: str, factor: float) -> Law:
    check_rounding()
    if factor == 1:
        return initializer.law(shape, axes, dtype)
    # Rounded once, as if the law had been made of that scale.
    exact = initializer.law(shape, axes, "float64")
    low, high = (times(bound, factor) for bound in initializer.bounds(shape, axes))
    size = math.ldexp(exact.scale, noise_bits(exact.window)) * factor
    return clamped_law(exact.window, size, exact.mean * factor, low, high, dtype)


class Composed(Initializer):
    """An initializer whose weights depend on one another: the whole is made at once, and a box costs as much."""

    @property
    def needs_axes(self) -> bool:
        return True  # its weights are matrices of inputs and outputs

    @property
    def requires_full_draw(self) -> bool:
        return True

    @abstractmethod
    def compose(self, weight: DrawRequest, engine: Engine) -> Any:
        """The whole weight, whatever its box, in the weight's wide dtype or a wider one."""

    def weights(self, weight: DrawRequest, engine: Engine) -> Any:
        whole = self.compose(weight, engine)
        if weight.scale != 1:
            whole = whole * weight.scale
        return whole if weight.box is None else whole[box_index(weight.box)]


class Indexed(Initializer):
    """An initializer whose weights follow from their indices alone: nothing is drawn, and a box costs a box."""

    @property
    def needs_axes(self) -> bool:
        return True  # its indices are inputs and outputs

    @abstractmethod
    def at(self, weight: DrawRequest, indices: Sequence[Any], engine: Engine) -> Any:
        """The weights at the indices of each stored axis, which broadcast; `rounded_once` to the weight's dtype."""

    def weights(self, weight: DrawRequest, engine: Engine) -> Any:
        sizes = tuple(part.size for part in weight.parts)
        indices = [engine.index(part, axis, sizes) for axis, part in enumerate(weight.parts)]
        return engine.xp.broadcast_to(self.at(weight, indices, engine), sizes).reshape(weight.out_shape)

    def fill(self, out: Any, weight: DrawRequest, engine: Engine) -> None:
        for bound in self.bounds(weight.shape, weight.axes):  # raises before anything is written
            rounded_once(bound * weight.scale, weight.dtype)
        engine.fill_in_pieces(out, weight, partial(self.weights, engine=engine))


class Elementwise(Initializer):
    """An initializer each of whose weights is a function of one weight that another initializer draws."""

    @property
    def uses_fans(self) -> bool:
        return self.drawn.uses_fans

    @property
    def needs_axes(self) -> bool:
        return self.drawn.needs_axes

    @property
    def requires_full_draw(self) -> bool:
        return self.drawn.requires_full_draw

    @property
    @abstractmethod
    def drawn(self) -> Initializer:
        """What is drawn."""

    @abstractmethod
    def apply(self, values: Any, weight: DrawRequest, engine: Engine) -> Any:
        """What becomes of it, in the engine's widest dtype."""

    def weights(self, weight: DrawRequest, engine: Engine) -> Any:
        if DTYPES[weight.dtype].part:
            raise not_real(self, weight)
        wide = weight._replace(dtype=engine.widest(weight.dtype), scale=1.0)
        return self.apply(self.drawn.weights(wide, engine), weight, engine) * weight.scale

    def fill(self, out: Any, weight: DrawRequest, engine: Engine) -> None:
        engine.fill_in_pieces(out, weight, partial(self.weights, engine=engine))


def not_real(initializer: Initializer, weight: DrawRequest) -> ValueError:
    """The error of a scheme that has no complex weights."""
    return ValueError(f"dtype of {initializer.factory} must be real, got {weight.dtype}")


def matrices(initializer: Initializer, shape: Shape, axes: str | None) -> Canonical:
    """The weight taken apart, for a scheme of matrices: it needs two axes."""
    sizes = checked_shape(shape)
    if len(sizes) < 2:
        raise ValueError(f"{initializer.factory} needs a weight of at least 2 axes, got shape {sizes}")
    return canonical(sizes, axes)

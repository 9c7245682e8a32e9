"""Kinds of initializers, by the way to compute weights with an engine. A scheme has one kind and adds a formula."""

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
from .initializer import Derived, Initializer, times


class Independent(Initializer):
    """An initializer whose weights are drawn one by one, by a law."""

    @abstractmethod
    def law(self, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
        """Return the law of the weights of the given shape."""

    def adds_mean(self, shape: tuple[int, ...], axes: str | None) -> bool:
        return self.law(shape, axes, "float64").mean != 0

    def without_law(self, request: DrawRequest) -> Initializer:
        """Return the initializer of a request without a law, such as one for complex weights, or raise ValueError."""
        raise not_real(self, request)

    def request_law(self, request: DrawRequest) -> Law | None:
        shape, axes, dtype, _, _, scale = request
        return None if DTYPES[dtype].part else _law(self, shape, axes, dtype, scale)

    def check_request(self, request: DrawRequest) -> None:
        if self.request_law(request) is None:
            self.without_law(request).check_request(request)

    def weights(self, request: DrawRequest, engine: Engine) -> Any:
        law = self.request_law(request)
        return self.without_law(request).weights(request, engine) if law is None else engine.draw(law, request)

    def fill(self, out: Any, request: DrawRequest, engine: Engine) -> None:
        law = self.request_law(request)
        if law is None:
            engine.fill_in_pieces(out, request, partial(self.without_law(request).weights, engine=engine))
        else:
            engine.fill(out, law, request)


@lru_cache(maxsize=4096)
def _law(initializer: Independent, shape: tuple[int, ...], axes: str | None, dtype: str, factor: float) -> Law:
    check_rounding()
    if factor == 1:
        return initializer.law(shape, axes, dtype)
    # Rounded once, as if the law had been made with this scale.
    exact = initializer.law(shape, axes, "float64")
    low, high = (times(bound, factor) for bound in initializer.bounds(shape, axes))
    size = math.ldexp(exact.scale, noise_bits(exact.window)) * factor
    return clamped_law(exact.window, size, exact.mean * factor, low, high, dtype)


class Composed(Initializer):
    """An initializer whose weights depend on one another: the full weight is made at once, also for a box."""

    needs_axes = True  # its weights are matrices of inputs and outputs

    requires_full_draw = True

    @abstractmethod
    def compose(self, request: DrawRequest, engine: Engine) -> Any:
        """Return the full weight, also for a request of a box, in the wide dtype of the request or a wider dtype."""

    def weights(self, request: DrawRequest, engine: Engine) -> Any:
        full = self.compose(request, engine)
        if request.scale != 1:
            full = full * request.scale
        return full if request.box is None else full[box_index(request.box)]


class Indexed(Initializer):
    """An initializer whose weights follow from their indices alone: nothing is drawn, and a box costs a box."""

    needs_axes = True  # its indices are inputs and outputs

    is_random = False

    @abstractmethod
    def at(self, request: DrawRequest, indices: Sequence[Any], engine: Engine) -> Any:
        """Return the weights at broadcastable indices of the stored axes, `rounded_once` to the dtype."""

    def check_request(self, request: DrawRequest) -> None:
        super().check_request(request)
        for bound in self.bounds(request.shape, request.axes):
            rounded_once(bound * request.scale, request.dtype)

    def weights(self, request: DrawRequest, engine: Engine) -> Any:
        sizes = tuple(part.size for part in request.parts)
        indices = [engine.index(part, axis, sizes) for axis, part in enumerate(request.parts)]
        return engine.xp.broadcast_to(self.at(request, indices, engine), sizes).reshape(request.out_shape)

    def fill(self, out: Any, request: DrawRequest, engine: Engine) -> None:
        self.check_request(request)  # before anything is written
        engine.fill_in_pieces(out, request, partial(self.weights, engine=engine))


class Elementwise(Derived):
    """An initializer each of whose weights is a function of one weight that another initializer draws."""

    @abstractmethod
    def apply(self, values: Any, request: DrawRequest, engine: Engine) -> Any:
        """Return the function of the drawn values, in the widest dtype of the engine."""

    def check_request(self, request: DrawRequest) -> None:
        if DTYPES[request.dtype].part:
            raise not_real(self, request)
        self.drawn.check_request(request._replace(dtype="float64", scale=1.0))

    def weights(self, request: DrawRequest, engine: Engine) -> Any:
        if DTYPES[request.dtype].part:
            raise not_real(self, request)
        wide = request._replace(dtype=engine.widest(request.dtype), scale=1.0)
        return self.apply(self.drawn.weights(wide, engine), request, engine) * request.scale

    def fill(self, out: Any, request: DrawRequest, engine: Engine) -> None:
        engine.fill_in_pieces(out, request, partial(self.weights, engine=engine))


def not_real(initializer: Initializer, request: DrawRequest) -> ValueError:
    """Return the error of a scheme that has no complex weights."""
    return ValueError(f"dtype of {initializer.factory} must be real, got {request.dtype}")


def matrices(initializer: Initializer, shape: Shape, axes: str | None) -> Canonical:
    """Return the parts of a weight for a scheme of matrices, or raise ValueError below two axes."""
    sizes = checked_shape(shape)
    if len(sizes) < 2:
        raise ValueError(f"shape must have at least 2 axes for {initializer.factory}, got {sizes}")
    return canonical(sizes, axes)

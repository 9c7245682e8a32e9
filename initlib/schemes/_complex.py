"""Complex weights: real draws of streams of their own, made into a distribution on the plane."""

import math
from typing import Any

from .._arguments import Shape
from ..dtypes import DTYPES
from ..stream.engine import DrawRequest, Engine
from ..stream.law import Law
from .frozen import scheme
from .initializer import Derived, Initializer, checked_initializer

# The names of the streams inside the stream of a parameter.
REAL, IMAGINARY, MODULUS, ANGLE = "real", "imaginary", "modulus", "angle"


@scheme("two_parts", is_public=False)
class TwoParts(Derived):
    """Weights whose real and imaginary parts, where they are complex, are drawn alike by another initializer."""

    each: Initializer

    def __post_init__(self) -> None:
        checked_initializer(self.each, "each")

    @property
    def drawn(self) -> Initializer:
        return self.each

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return self.each.std(shape, axes) * math.sqrt(2)

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.each.bounds(shape, axes)

    def request_law(self, request: DrawRequest) -> Law | None:
        return self.each.request_law(request) if DTYPES[request.dtype].part is None else None

    def check_request(self, request: DrawRequest) -> None:
        self.each.check_request(request._replace(dtype=DTYPES[request.dtype].part or request.dtype))

    def weights(self, request: DrawRequest, engine: Engine) -> Any:
        if DTYPES[request.dtype].part is None:
            return self.each.weights(request, engine)
        return engine.complex(
            *(self.each.weights(one_stream(request, name, engine), engine) for name in (REAL, IMAGINARY))
        )

    def fill(self, out: Any, request: DrawRequest, engine: Engine) -> None:
        if DTYPES[request.dtype].part is None:
            self.each.fill(out, request, engine)
        else:
            self.each.fill(out.real, one_stream(request, REAL, engine), engine)
            self.each.fill(out.imag, one_stream(request, IMAGINARY, engine), engine)


def one_stream(request: DrawRequest, name: str, engine: Engine) -> DrawRequest:
    """Return the request of the real weight of one stream of a complex weight."""
    real = DTYPES[request.dtype].part
    assert real is not None
    return request._replace(dtype=real, key=engine.fold_in(request.key, name))

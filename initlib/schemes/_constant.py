"""Constants: weights that are all one number."""

from typing import Any

import numpy as np

from .._arguments import Shape, real
from ..dtypes import DTYPES, rounded_once
from ..stream.engine import DrawRequest, Engine
from ..stream.law import Law, constant_law
from .frozen import scheme, set_fields
from .initializer import Initializer


@scheme("constant", proportional_to="value")
class Constant(Initializer):
    """Weights that all have the same value.

    `zeros` and `ones` are `constant(0.0)` and `constant(1.0)`.

    Args:
        value: the value, finite.

    Raises:
        TypeError: value is not a real number.
        ValueError: value is not finite.

    Example:
        >>> from initlib import constant
        >>> constant(0.5)((2, 2))
        array([[0.5, 0.5],
               [0.5, 0.5]], dtype=float32)
    """

    value: float = 0.0

    def __post_init__(self) -> None:
        set_fields(self, value=real(self.value, "value"))

    is_random = False

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return 0.0

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.value, self.value

    def request_law(self, request: DrawRequest) -> Law | None:
        if DTYPES[request.dtype].part:
            return None
        return constant_law(rounded_once(self.value * request.scale, request.dtype), request.dtype)

    def check_request(self, request: DrawRequest) -> None:
        rounded_once(self.value * request.scale, request.dtype)

    def _one(self, request: DrawRequest, engine: Engine) -> Any:
        return engine.array(np.array(rounded_once(self.value * request.scale, request.dtype)), request.dtype)

    def weights(self, request: DrawRequest, engine: Engine) -> Any:
        return engine.xp.broadcast_to(self._one(request, engine), request.out_shape)

    def fill(self, out: Any, request: DrawRequest, engine: Engine) -> None:
        engine.put(out, self._one(request, engine), request.dtype)


constant = Constant
zeros = constant(0.0)
ones = constant(1.0)

"""Constants: weights that are all one number."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .._arguments import Shape, real
from .._public import public
from ..dtypes import rounded_once
from ..stream.engine import DrawRequest, Engine
from .initializer import Initializer, set_fields


@public("initlib", "constant")
@dataclass(repr=False, eq=False)
class Constant(Initializer):
    """Weights that are all one value.

    >>> from initlib import constant
    >>> constant(0.5)((2, 2))
    array([[0.5, 0.5],
           [0.5, 0.5]], dtype=float32)

    Raises ValueError unless the value is finite.
    """

    value: float = 0.0
    factory: ClassVar[str] = "constant"
    proportional_to: ClassVar[str | None] = "value"

    def __post_init__(self) -> None:
        set_fields(self, value=real(self.value, "value"))

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return 0.0

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.value, self.value

    def _one(self, weight: DrawRequest, engine: Engine) -> Any:
        return engine.array(np.array(rounded_once(self.value * weight.scale, weight.dtype)), weight.dtype)

    def weights(self, weight: DrawRequest, engine: Engine) -> Any:
        return engine.xp.broadcast_to(self._one(weight, engine), weight.out_shape)

    def fill(self, out: Any, weight: DrawRequest, engine: Engine) -> None:
        engine.put(out, self._one(weight, engine), weight.dtype)


constant = Constant
zeros = constant(0.0)
ones = constant(1.0)

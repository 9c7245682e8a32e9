"""Complex weights: real draws of streams of their own, made into a distribution on the plane."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .._arguments import Shape
from ..dtypes import DTYPES
from ..stream.engine import DrawRequest, Engine
from .initializer import Initializer

# The names of the streams inside a parameter's own.
REAL, IMAGINARY, MODULUS, ANGLE = "real", "imaginary", "modulus", "angle"


@dataclass(repr=False, eq=False)
class TwoParts(Initializer):
    """Weights whose real and imaginary parts, where they are complex, are drawn alike by another initializer."""

    each: Initializer
    factory: ClassVar[str] = "two_parts"

    def __post_init__(self) -> None:
        if not isinstance(self.each, Initializer):
            raise TypeError(f"each must be an initlib initializer, got {self.each!r}")

    @property
    def uses_fans(self) -> bool:
        return self.each.uses_fans

    @property
    def needs_axes(self) -> bool:
        return self.each.needs_axes

    @property
    def requires_full_draw(self) -> bool:
        return self.each.requires_full_draw

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return self.each.std(shape, axes) * math.sqrt(2)

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.each.bounds(shape, axes)

    def weights(self, weight: DrawRequest, engine: Engine) -> Any:
        if DTYPES[weight.dtype].part is None:
            return self.each.weights(weight, engine)
        return engine.complex(
            *(self.each.weights(one_stream(weight, name, engine), engine) for name in (REAL, IMAGINARY))
        )

    def fill(self, out: Any, weight: DrawRequest, engine: Engine) -> None:
        if DTYPES[weight.dtype].part is None:
            self.each.fill(out, weight, engine)
        else:
            self.each.fill(out.real, one_stream(weight, REAL, engine), engine)
            self.each.fill(out.imag, one_stream(weight, IMAGINARY, engine), engine)


def one_stream(weight: DrawRequest, name: str, engine: Engine) -> DrawRequest:
    """The real weight of one of a complex weight's streams."""
    real = DTYPES[weight.dtype].part
    assert real is not None
    return weight._replace(dtype=real, key=engine.fold_in(weight.key, name))


def on_the_plane(square: Any, signed_unit: Initializer, std: float, weight: DrawRequest, engine: Engine) -> Any:
    """Weights of that std and any angle, whose squared modulus, of mean 1, is a function of a uniform number in (0, 1).

    `signed_unit` draws uniform numbers in (-1, 1): of mean 0, their bits are promised.
    """
    xp, plain = engine.xp, weight._replace(scale=1.0)
    share = (signed_unit.weights(one_stream(plain, MODULUS, engine), engine) + 1) / 2
    modulus = xp.sqrt(square(share)) * (std * weight.scale)
    angle = signed_unit.weights(one_stream(plain, ANGLE, engine), engine) * math.pi
    return engine.complex(modulus * xp.cos(angle), modulus * xp.sin(angle))

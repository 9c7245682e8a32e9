"""Kernels before a sub-pixel upscaling, free of checkerboards."""

from dataclasses import dataclass
from typing import Any, ClassVar

from .._arguments import Shape, checked_shape, choice, integer
from .._public import public
from ..axes import canonical
from ..dtypes import DTYPES
from ..stream.engine import DrawRequest, Engine
from .initializer import Initializer, set_fields
from .kinds import Composed

SHUFFLES = ("pixel_shuffle", "depth_to_space")


@public("initlib", "icnr")
@dataclass(repr=False, eq=False)
class Icnr(Composed):
    """Kernels whose outputs are equal for all the pixels that an upscaling makes of one: nearest-neighbour, at first.

    >>> from initlib import he_normal
    >>> kernel = icnr(he_normal, 2)((64, 32, 3, 3), axes="OIHW", seed=0)  # a PyTorch convolution before PixelShuffle(2)
    >>> bool((kernel[0] == kernel[1]).all() and (kernel[0] == kernel[3]).all() and (kernel[0] != kernel[4]).any())
    True

    The initializer draws the kernel of outputs / upscale**d, d the receptive-field axes, and each of its outputs is
    repeated upscale**d times: next to one another for "pixel_shuffle" (PyTorch), or the whole over again for
    "depth_to_space" (TensorFlow, JAX). Raises ValueError for an upscale below 1, another shuffle, outputs that it does
    not divide, a weight without receptive field or with more than one output axis. A box (`index=`) costs the whole.
    Aitken, Ledig, Theis, Caballero, Wang, Shi 2017, arXiv 1707.02937.
    """

    initializer: Initializer
    upscale: int
    shuffle: str = "pixel_shuffle"
    factory: ClassVar[str] = "icnr"

    def __post_init__(self) -> None:
        if not isinstance(self.initializer, Initializer):
            raise TypeError(f"initializer must be an initlib initializer, got {self.initializer!r}")
        upscale = integer(self.upscale, "upscale", least=1)
        set_fields(self, upscale=upscale, shuffle=choice(self.shuffle, "shuffle", SHUFFLES))

    @property
    def uses_fans(self) -> bool:
        return self.initializer.uses_fans

    def _small(self, shape: Shape, axes: str | None) -> tuple[tuple[int, ...], int, int]:
        """The shape that is drawn, its output axis, and how often that is repeated."""
        sizes = checked_shape(shape)
        weight = canonical(sizes, axes)
        if len(weight.outputs) != 1 or not weight.field:
            raise ValueError(
                f"icnr needs a kernel of one output axis and a receptive field, got shape {sizes}, axes {axes!r}"
            )
        axis, outputs, times = weight.steps[-1][0], weight.outputs[0], self.upscale ** len(weight.field)
        if outputs != sizes[axis] and self.shuffle == "depth_to_space":
            raise ValueError(f"icnr for depth_to_space cannot have packed outputs, got axes {axes!r}")
        if outputs % times:
            raise ValueError(
                f"icnr repeats each output {times} times, which does not divide the {outputs} outputs of "
                f"shape {sizes}, axes {axes!r}"
            )
        return (*sizes[:axis], sizes[axis] // times, *sizes[axis + 1 :]), axis, times

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return self.initializer.std(self._small(shape, axes)[0], axes)

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.initializer.bounds(self._small(shape, axes)[0], axes)

    def compose(self, weight: DrawRequest, engine: Engine) -> Any:
        small, axis, times = self._small(weight.shape, weight.axes)
        drawn = DrawRequest(small, weight.axes, DTYPES[weight.dtype].wide, weight.key)
        kernel = self.initializer.weights(drawn, engine)
        if self.shuffle == "pixel_shuffle":
            return engine.xp.repeat(kernel, times, axis=axis)
        return engine.xp.concatenate([kernel] * times, axis=axis)


icnr = Icnr

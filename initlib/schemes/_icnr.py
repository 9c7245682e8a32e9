"""ICNR: kernels before a sub-pixel upscaling, without checkerboard artifacts."""

from typing import Any

from .._arguments import Shape, checked_shape, choice, integer
from ..axes import canonical
from ..dtypes import DTYPES
from ..stream.engine import DrawRequest, Engine
from .frozen import scheme, set_fields
from .initializer import Initializer, checked_initializer
from .kinds import Composed

SHUFFLES = ("pixel_shuffle", "depth_to_space")


@scheme("icnr")
class Icnr(Composed):
    """Kernels of a sub-pixel convolution that starts as an upscaling by nearest-neighbour interpolation.

    Another initializer draws a smaller kernel with outputs / upscale**d outputs, for d receptive-field axes. Each
    output of the smaller kernel is then repeated upscale**d times. A box (`index=`) costs a full draw.

    Args:
        initializer: the initializer of the smaller kernel.
        upscale: factor of the upscaling, at least 1.
        shuffle: "pixel_shuffle" repeats each output next to itself (PyTorch); "depth_to_space" repeats the smaller
            kernel as a block (TensorFlow, JAX).

    Raises:
        TypeError: initializer is not an initializer, or upscale is not an int.
        ValueError: upscale is below 1, or shuffle is not allowed; when drawn, the weight has no receptive field,
            more than one output axis, or a number of outputs that upscale**d does not divide.

    Example:
        >>> from initlib import he_normal
        >>> kernel = icnr(he_normal, 2)((64, 32, 3, 3), axes="OIHW", seed=0)  # before PyTorch's PixelShuffle(2)
        >>> bool((kernel[0] == kernel[1]).all() and (kernel[0] == kernel[3]).all() and (kernel[0] != kernel[4]).any())
        True

    Reference:
        Aitken, Ledig, Theis, Caballero, Wang, Shi. Checkerboard artifact free sub-pixel convolution. 2017.
        arXiv:1707.02937.
    """

    initializer: Initializer
    upscale: int
    shuffle: str = "pixel_shuffle"

    def __post_init__(self) -> None:
        checked_initializer(self.initializer)
        upscale = integer(self.upscale, "upscale", least=1)
        set_fields(self, upscale=upscale, shuffle=choice(self.shuffle, "shuffle", SHUFFLES))

    @property
    def uses_fans(self) -> bool:
        return self.initializer.uses_fans

    def _small(self, shape: Shape, axes: str | None) -> tuple[tuple[int, ...], int, int]:
        """Return the shape of the smaller kernel, its output axis, and the number of repetitions."""
        sizes = checked_shape(shape)
        weight = canonical(sizes, axes)
        if len(weight.outputs) != 1 or not weight.field:
            raise ValueError(
                f"axes of icnr must have one output axis and a receptive field, got shape {sizes}, axes {axes!r}"
            )
        axis, outputs, times = weight.steps[-1][0], weight.outputs[0], self.upscale ** len(weight.field)
        if outputs != sizes[axis] and self.shuffle == "depth_to_space":
            raise ValueError(f"axes of icnr for depth_to_space must not pack outputs, got {axes!r}")
        if outputs % times:
            raise ValueError(
                f"outputs of icnr must be a multiple of {times}, got {outputs} outputs in shape {sizes}, axes {axes!r}"
            )
        return (*sizes[:axis], sizes[axis] // times, *sizes[axis + 1 :]), axis, times

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return self.initializer.std(self._small(shape, axes)[0], axes)

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        return self.initializer.bounds(self._small(shape, axes)[0], axes)

    def check_request(self, request: DrawRequest) -> None:
        self.initializer.check_request(self._inner(request))

    def _inner(self, request: DrawRequest) -> DrawRequest:
        """Return the request of the smaller kernel."""
        small, _, _ = self._small(request.shape, request.axes)
        return DrawRequest(small, request.axes, DTYPES[request.dtype].wide, request.key)

    def compose(self, request: DrawRequest, engine: Engine) -> Any:
        _, axis, times = self._small(request.shape, request.axes)
        kernel = self.initializer.weights(self._inner(request), engine)
        if self.shuffle == "pixel_shuffle":
            return engine.xp.repeat(kernel, times, axis=axis)
        return engine.xp.concatenate([kernel] * times, axis=axis)


icnr = Icnr

"""Initializer: an immutable description of a distribution of weights. Calling it draws."""

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import fields
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._arguments import Shape, check_one_shape, checked_shape, positive
from .._public import public
from ..axes import check as check_axes
from ..axes import match
from ..dtypes import DTypeLike, dtype_name, numpy_dtype
from ..key import Seed, as_key
from ..stream import kernel
from ..stream.boxes import Index, box_shape, flat_boxes, normalize_index, normalize_range
from ..stream.engine import DrawRequest, Engine
from ..stream.law import Law
from ..stream.numpy_engine import NUMPY
from .frozen import Frozen, scheme, set_fields


@public("initlib")
class Initializer(Frozen, ABC):
    """A distribution of weights: an immutable object that compares, hashes and pickles by its arguments.

    Call an initializer to draw. Multiply an initializer by a factor to scale its weights.

    Example:
        >>> from initlib import he_normal
        >>> he_normal((784, 128), seed=0).shape
        (784, 128)
        >>> he_normal.std((784, 128))
        0.050507627227610534
    """

    factory: ClassVar[str]  # the public name of the scheme, for the repr
    proportional_to: ClassVar[str | None] = None  # the argument that every weight is a multiple of, if any
    __array_ufunc__: ClassVar[None] = None  # NumPy's numbers leave `number * initializer` to `__rmul__`

    def __call__(
        self,
        shape: Shape | None = None,
        dtype: DTypeLike = "float32",
        *of_jax: Any,
        axes: str | None = None,
        seed: Seed = None,
        name: str | None = None,
        index: Index | None = None,
        flat: slice | None = None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Draw a weight of the given shape, or a part of the weight.

        The weight depends only on the initializer, the shape, the dtype, the axes, the seed and the name. A part of a
        weight has the same bits as that part of the full weight.

        Args:
            shape: shape of the full weight, as stored: an int or a sequence of ints.
            dtype: float16, bfloat16, float32, float64, float8_e4m3fn, float8_e5m2, complex64 or complex128, or a
                framework's dtype of the same name. Random numbers are multiples of 2**-24 of the limit (uniform) or of
                2**-21 sigma (normal), also in float64. So 10 million float64 normals have about 5.7 million distinct
                values.
            axes: role of each stored axis, such as "OIHW" (see `fans`). None is "...IO".
            *of_jax: the dtype, if JAX or Flax calls the initializer with (key, shape, dtype). Such a call returns a JAX
                array.
            seed: an int from 0 to 2**64 - 1, a `Key`, a `numpy.random.Generator`, or None for fresh entropy.
            name: name of the parameter. Each name has its own stream of random numbers. Without names, weights of
                different shapes under one seed begin with the same random numbers, so name every parameter.
            index: ints and slices that select a box, as for an array. Only this box is computed, except if
                `requires_full_draw` is True.
            flat: a slice of the full weight in row-major order: `flat=slice(a, b)` draws `.reshape(-1)[a:b]`. Not
                allowed with `index`.
            out: array to fill and return, of the shape and dtype of the result. Unchanged after an error.

        Returns:
            The weights, in `out` if given.

        Raises:
            TypeError: an argument has a wrong type.
            ValueError: an argument has a wrong value, or the dtype cannot hold the weights.

        Warns:
            UserWarning: the shape has a size of 0, and the initializer depends on fans.

        Example:
            >>> from initlib import glorot_uniform
            >>> full = glorot_uniform((512, 64), seed=0, name="dense")
            >>> box = glorot_uniform((512, 64), seed=0, name="dense", index=(slice(0, 8), 5))
            >>> bool((box == full[:8, 5]).all())
            True
        """
        if shape is None:
            raise TypeError(
                f"shape must be an int or a sequence of ints, got None. {self!r} is an initializer already: "
                "leave out the parentheses, or pass a shape"
            )
        if of_jax or type(dtype) is int:
            check_one_shape(shape, dtype, *of_jax)
        if of_jax or (type(shape) is not tuple and type(shape).__module__.startswith("jax")):
            from .._adapters import draw_in_jax

            return draw_in_jax(self, shape, dtype, *of_jax)  # of JAX
        sizes = checked_shape(shape)
        dtype = dtype_name(dtype)
        if axes is not None:
            check_axes(axes)
        _check(self, sizes, axes, dtype)
        if flat is not None and index is not None:
            raise ValueError(f"index and flat must not both be given, got index {index!r} and flat {flat!r}")
        box = None if index is None else normalize_index(index, sizes)
        out_shape = sizes if box is None else box_shape(box)
        if flat is not None:
            start, stop = normalize_range(flat, sizes)
            out_shape = (stop - start,)
        if out is not None:
            _check_out(out, out_shape, dtype)
        key = as_key(seed, name)
        if 0 in sizes and self.uses_fans:
            warnings.warn(f"shape {sizes} holds no weights: nothing is drawn", UserWarning, stacklevel=2)
        target = np.empty(out_shape, numpy_dtype(dtype)) if out is None else out
        if not target.size:
            return target
        request = DrawRequest(sizes, axes, dtype, key, box)
        if flat is None:
            self.fill(target, request, NUMPY)
        elif self.requires_full_draw:
            target[...] = self(sizes, dtype, axes=axes, seed=key).reshape(-1)[start:stop]
        else:
            for place, box in flat_boxes(start, stop, sizes):
                self.fill(target[place].reshape(box_shape(box)), request._replace(box=box), NUMPY)
        return target

    def check(self, shape: Shape, dtype: DTypeLike = "float32", *, axes: str | None = None) -> None:
        """Raise an error, without drawing, if the initializer cannot draw a weight of this shape, dtype and axes.

        Args:
            shape: shape of the full weight, as stored.
            dtype: dtype of the weights.
            axes: role of each stored axis (see `fans`). None is "...IO".

        Raises:
            TypeError: an argument has a wrong type.
            ValueError: an argument has a wrong value, the initializer cannot draw this shape or dtype, or the dtype
                cannot hold the weights.

        Example:
            >>> from initlib import normal
            >>> normal(std=1e6).check((3, 4))
            >>> normal(std=1e6).check((3, 4), "float16")
            Traceback (most recent call last):
            ValueError: weights as large as 6.23e+06 overflow float16. Pass a smaller scale, or a wider dtype
        """
        if type(dtype) is int:
            check_one_shape(shape, dtype)
        check_axes(axes)
        _check(self, checked_shape(shape), axes, dtype_name(dtype))

    @abstractmethod
    def std(self, shape: Shape, axes: str | None = None) -> float:
        """Return the standard deviation of the weights of the given shape, without drawing.

        Args:
            shape: shape of the full weight, as stored.
            axes: role of each stored axis (see `fans`). None is "...IO".

        Returns:
            The standard deviation, or nan if unknown.

        Raises:
            TypeError: an argument has a wrong type.
            ValueError: the axes do not fit the shape, or the initializer cannot draw this shape.

        Example:
            >>> from initlib import glorot_normal
            >>> glorot_normal.std((64, 32, 3, 3), axes="OIHW")
            0.048112522432468816
        """

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        """Return the least and the greatest number that a weight of the given shape can contain, without drawing.

        Args:
            shape: shape of the full weight, as stored.
            axes: role of each stored axis (see `fans`). None is "...IO".

        Returns:
            The two bounds, which may be infinite.

        Raises:
            TypeError: an argument has a wrong type.
            ValueError: the axes do not fit the shape, or the initializer cannot draw this shape.

        Example:
            >>> from initlib import glorot_uniform
            >>> glorot_uniform.bounds((64, 32, 3, 3), axes="OIHW")
            (-0.08333333333333333, 0.08333333333333333)
        """
        return -math.inf, math.inf

    @property
    def uses_fans(self) -> bool:
        """Return True if the weights depend on fan_in or fan_out.

        Example:
            >>> from initlib import he_normal, normal
            >>> he_normal.uses_fans, normal().uses_fans
            (True, False)
        """
        return False

    @property
    def needs_axes(self) -> bool:
        """Return True if a weight of two or more axes depends on the order of its input and output axes.

        Example:
            >>> from initlib import dirac, he_normal, normal
            >>> he_normal.needs_axes, dirac().needs_axes, normal().needs_axes
            (True, True, False)
        """
        return self.uses_fans

    @property
    def requires_full_draw(self) -> bool:
        """Return True if a draw of a box must compute the full weight, as for orthogonal matrices.

        Example:
            >>> from initlib import he_normal, orthogonal
            >>> he_normal.requires_full_draw, orthogonal().requires_full_draw
            (False, True)
        """
        return False

    @property
    def is_random(self) -> bool:
        """Return True if the weights depend on the seed.

        Example:
            >>> from initlib import he_normal, zeros
            >>> he_normal.is_random, zeros.is_random
            (True, False)
        """
        return True

    def adds_mean(self, shape: tuple[int, ...], axes: str | None) -> bool:
        """Return True if each number is random noise plus a nonzero mean. A compiler may fuse this addition.

        Args:
            shape: the shape of the weight.
            axes: the axes string of the weight, or None.
        """
        return False

    @property
    def made_whole(self) -> bool:
        """Return `requires_full_draw`. This old name is deprecated, and issues a DeprecationWarning."""
        warnings.warn("made_whole is now requires_full_draw", DeprecationWarning, stacklevel=2)
        return self.requires_full_draw

    def request_law(self, request: DrawRequest) -> Law | None:
        """Return the law that maps each 32-bit word of the stream to one number of the weight.

        Args:
            request: a request for a weight that is not empty.

        Returns:
            The law, or None if no law draws the weights.
        """
        return None

    def check_request(self, request: DrawRequest) -> None:
        """Raise ValueError unless the weight of a draw request can be drawn.

        Args:
            request: a request for a weight that is not empty.
        """
        self.std(request.shape, request.axes)

    @abstractmethod
    def weights(self, request: DrawRequest, engine: Engine) -> Any:
        """Return the box of a draw request as an array of an engine.

        Args:
            request: the shape, axes, dtype, key, box and scale of the draw.
            engine: the array library that draws.

        Returns:
            The weights, in the dtype of the request or a wider dtype.
        """

    def fill(self, out: Any, request: DrawRequest, engine: Engine) -> None:
        """Fill memory of an engine with the box of a draw request.

        Args:
            out: memory of the shape and dtype of the box, already checked.
            request: the shape, axes, dtype, key, box and scale of the draw.
            engine: the array library that draws.
        """
        engine.put(out, self.weights(request, engine), request.dtype)

    def __mul__(self, factor: float) -> "Initializer":
        """Return the initializer of the same weights times a factor, as `scaled` does."""
        factor = positive(factor, "factor", or_zero=True)
        if self.proportional_to is None:
            return Scaled(self, factor)
        arguments = self.get_config()
        return self.from_config(arguments | {self.proportional_to: arguments[self.proportional_to] * factor})

    __rmul__ = __mul__

    def __repr__(self) -> str:
        return f"{self.factory}({', '.join(f'{name}={value!r}' for name, value in self.get_config().items())})"

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the initializer by name, as `get_config` does in Keras.

        Returns:
            The arguments, with `type(init).from_config(init.get_config()) == init`.

        Example:
            >>> from initlib import normal
            >>> normal(std=0.02).get_config()
            {'mean': 0.0, 'std': 0.02}
        """
        return {f.metadata.get("argument", f.name): getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Initializer":
        """Make an initializer from the arguments that `get_config` returned.

        Args:
            config: the arguments by name.

        Returns:
            The initializer.

        Raises:
            TypeError: config has a name that is not an argument, or a value of a wrong type.
            ValueError: config has a wrong value.

        Example:
            >>> from initlib import normal
            >>> normal.from_config({"mean": 0.0, "std": 0.02})
            normal(mean=0.0, std=0.02)
        """
        return cls(**config)


@lru_cache(maxsize=4096)
def _check(initializer: Initializer, shape: tuple[int, ...], axes: str | None, dtype: str) -> None:
    match(shape, axes)
    if 0 not in shape:
        initializer.check_request(DrawRequest(shape, axes, dtype, None))


def _check_out(out: Any, shape: tuple[int, ...], dtype: str) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a numpy.ndarray, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"out must have the shape {shape} of the draw, got {out.shape}")
    if out.dtype != numpy_dtype(dtype):
        raise ValueError(f"out must have the dtype {dtype} of the draw, got {out.dtype}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable, got a read-only array")
    if not kernel.in_order(out):
        kernel.item_strides(out)  # raises


def checked_initializer(value: Any, argument: str = "initializer") -> Initializer:
    """Return the value, or raise TypeError unless the value is an initializer."""
    if not isinstance(value, Initializer):
        raise TypeError(f"{argument} must be an initlib initializer, got {value!r}")
    return value


class Derived(Initializer):
    """An initializer whose weights follow from those of another initializer."""

    @property
    @abstractmethod
    def drawn(self) -> Initializer:
        """Return the other initializer."""

    @property
    def uses_fans(self) -> bool:
        return self.drawn.uses_fans

    @property
    def needs_axes(self) -> bool:
        return self.drawn.needs_axes

    @property
    def requires_full_draw(self) -> bool:
        return self.drawn.requires_full_draw


@scheme("scaled", is_public=False, proportional_to="factor")
class Scaled(Derived):
    """Weights of another initializer times a factor."""

    initializer: Initializer
    factor: float

    def __post_init__(self) -> None:
        checked_initializer(self.initializer)
        set_fields(self, factor=positive(self.factor, "factor", or_zero=True))

    @property
    def drawn(self) -> Initializer:
        return self.initializer

    @property
    def is_random(self) -> bool:
        return self.initializer.is_random

    def adds_mean(self, shape: tuple[int, ...], axes: str | None) -> bool:
        return self.initializer.adds_mean(shape, axes)

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return float(self.initializer.std(shape, axes) * self.factor)

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        low, high = self.initializer.bounds(shape, axes)
        return times(low, self.factor), times(high, self.factor)

    def request_law(self, request: DrawRequest) -> Law | None:
        return self.initializer.request_law(self._scaled(request))

    def check_request(self, request: DrawRequest) -> None:
        self.initializer.check_request(self._scaled(request))

    def weights(self, request: DrawRequest, engine: Engine) -> Any:
        return self.initializer.weights(self._scaled(request), engine)

    def fill(self, out: Any, request: DrawRequest, engine: Engine) -> None:
        self.initializer.fill(out, self._scaled(request), engine)

    def _scaled(self, request: DrawRequest) -> DrawRequest:
        return request._replace(scale=request.scale * self.factor)


def times(bound: float, factor: float) -> float:
    """Return a bound of weights that are multiplied by a factor."""
    return bound * factor if factor else 0.0  # not 0 * inf

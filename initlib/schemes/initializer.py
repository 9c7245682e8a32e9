"""Initializer: an immutable description of a distribution of weights. Calling it draws."""

import warnings
from abc import ABC, abstractmethod
from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .._arguments import Shape, checked_shape, positive
from .._public import public
from ..axes import match
from ..dtypes import dtype_name, numpy_dtype
from ..key import as_key
from ..stream import kernel
from ..stream.boxes import box_shape, flat_boxes, normalize_index, normalize_range
from ..stream.engine import DrawRequest, Engine
from ..stream.numpy_engine import NUMPY


@public("initlib")
class Initializer(ABC):
    """A distribution of weights: frozen, comparable, hashable, picklable.

    >>> from initlib import he_normal
    >>> he_normal((784, 128), seed=0).shape
    (784, 128)
    >>> he_normal.std((784, 128))
    0.050507627227610534
    """

    factory: ClassVar[str]  # the public name that makes it, for the repr
    proportional_to: ClassVar[str | None] = None  # the argument that every weight is a multiple of, if there is one
    __array_ufunc__: ClassVar[None] = None  # NumPy's numbers leave `number * initializer` to us

    def __call__(
        self,
        shape: Shape,
        dtype: Any = "float32",
        *,
        axes: str | None = None,
        seed: Any = None,
        name: str | None = None,
        index: Any = None,
        flat: slice | None = None,
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Draw the weight of that shape, or one box of it.

        >>> from initlib import glorot_uniform
        >>> whole = glorot_uniform((512, 64), seed=0, name="dense")
        >>> box = glorot_uniform((512, 64), seed=0, name="dense", index=(slice(0, 8), 5))
        >>> bool((box == whole[:8, 5]).all())
        True

        `dtype` is float16, bfloat16, float32, float64, complex64 or complex128, or a framework's dtype of that name;
        the noise of float64 weights has 24 bits where they are uniform, 21 below one sigma where they are normal.
        `axes` says what the axes mean (default "...IO"). `seed` is an int, a `Key`, a `numpy.random.Generator` or None
        for fresh entropy; `name` gives the parameter a stream of its own. Under one seed and one name, weights of
        different shapes share their first numbers: name every parameter.
        `index` (ints and slices, as for an array) draws a box alone, at the cost of the box. So does `flat`, a slice
        of the weights as they lie in storage, row-major: `flat=slice(a, b)` is `.reshape(-1)[a:b]` of the whole.
        `out` is filled in place and returned; it has the dtype and the shape of what is drawn.
        Raises TypeError or ValueError, naming the argument; `out` is then untouched.
        """
        sizes = checked_shape(shape)
        dtype = dtype_name(dtype)
        match(sizes, axes)
        if flat is not None and index is not None:
            raise ValueError(f"index and flat both say what is drawn; give one, got index {index!r} and flat {flat!r}")
        box = None if index is None else normalize_index(index, sizes)
        kept = sizes if box is None else box_shape(box)
        if flat is not None:
            start, stop = normalize_range(flat, sizes)
            kept = (stop - start,)
        if out is not None:
            _check_out(out, kept, dtype)
        key = as_key(seed, name)
        if self.uses_fans and 0 in sizes:
            warnings.warn(f"shape {sizes} holds no weights: nothing is drawn", UserWarning, stacklevel=2)
        target = np.empty(kept, numpy_dtype(dtype)) if out is None else out
        if not target.size:
            if 0 not in sizes:
                self.std(sizes, axes)  # raises where no weight of that shape could be drawn
            return target
        weight = DrawRequest(sizes, axes, dtype, key, box)
        if flat is None:
            self.fill(target, weight, NUMPY)
        elif self.requires_full_draw:
            target[...] = self(sizes, dtype, axes=axes, seed=key).reshape(-1)[start:stop]
        else:
            for place, box in flat_boxes(start, stop, sizes):
                self.fill(target[place].reshape(box_shape(box)), weight._replace(box=box), NUMPY)
        return target

    @abstractmethod
    def std(self, shape: Shape, axes: str | None = None) -> float:
        """The standard deviation of the weights of that shape, without drawing.

        >>> from initlib import glorot_normal
        >>> glorot_normal.std((64, 32, 3, 3), axes="OIHW")
        0.048112522432468816
        """

    @abstractmethod
    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        """The least and the greatest value that a weight of that shape can have, without drawing.

        >>> from initlib import glorot_uniform
        >>> glorot_uniform.bounds((64, 32, 3, 3), axes="OIHW")
        (-0.08333333333333333, 0.08333333333333333)
        """

    @property
    def uses_fans(self) -> bool:
        """Whether the weights depend on fan_in or fan_out, which a bias has not.

        >>> from initlib import he_normal, normal
        >>> he_normal.uses_fans, normal().uses_fans
        (True, False)
        """
        return False

    @property
    def needs_axes(self) -> bool:
        """Whether the weights of two axes or more depend on what their axes mean: on fans, or on matrices.

        >>> from initlib import dirac, he_normal, normal
        >>> he_normal.needs_axes, dirac().needs_axes, normal().needs_axes
        (True, True, False)
        """
        return self.uses_fans

    @property
    def requires_full_draw(self) -> bool:
        """Whether the weights depend on one another, so that a box costs as much as the whole.

        >>> from initlib import he_normal, orthogonal
        >>> he_normal.requires_full_draw, orthogonal().requires_full_draw
        (False, True)
        """
        return False

    @property
    def made_whole(self) -> bool:
        """The old name of `requires_full_draw`, for one release."""
        warnings.warn("made_whole is now requires_full_draw", DeprecationWarning, stacklevel=2)
        return self.requires_full_draw

    @abstractmethod
    def weights(self, weight: DrawRequest, engine: Engine) -> Any:
        """The box of the weight as an array of the engine, in the weight's dtype or a wider one."""

    def fill(self, out: Any, weight: DrawRequest, engine: Engine) -> None:
        """Fill memory of the engine, checked, with the box of the weight: what a call does."""
        engine.put(out, self.weights(weight, engine), weight.dtype)

    def __mul__(self, factor: float) -> "Initializer":
        """The same weights times a factor: `scaled`."""
        factor = positive(factor, "factor", or_zero=True)
        if self.proportional_to is None:
            return Scaled(self, factor)
        arguments = self.get_config()
        return self.from_config(arguments | {self.proportional_to: arguments[self.proportional_to] * factor})

    __rmul__ = __mul__

    # What `dataclass(frozen=True)` would write and compile for every scheme anew, which took a third of our import.
    # A scheme is a `dataclass(repr=False, eq=False)`.

    def __setattr__(self, name: str, value: Any) -> None:
        declared = getattr(self, "__dataclass_fields__", None)
        if declared is not None and (name in vars(self) or name not in declared):
            raise FrozenInstanceError(f"{self!r} is immutable: {name} cannot be set")
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"{self!r} is immutable: {name} cannot be deleted")

    def __eq__(self, other: object) -> bool:
        return vars(other) == vars(self) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values()))  # every draw looks its law up by it

    def __repr__(self) -> str:
        return f"{self.factory}({', '.join(f'{name}={value!r}' for name, value in self.get_config().items())})"

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it, by name: `type(init).from_config(init.get_config()) == init`, as Keras asks.

        >>> from initlib import normal
        >>> normal(std=0.02).get_config()
        {'mean': 0.0, 'std': 0.02}
        """
        return {f.metadata.get("argument", f.name): getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Initializer":
        """Make it of what `get_config` gave.

        >>> from initlib import normal
        >>> normal.from_config({"mean": 0.0, "std": 0.02})
        normal(mean=0.0, std=0.02)
        """
        return cls(**config)


def _check_out(out: Any, shape: tuple[int, ...], dtype: str) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a numpy.ndarray, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, the draw has {shape}")
    if out.dtype != numpy_dtype(dtype):
        raise ValueError(f"out has dtype {out.dtype}, the draw has {dtype}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    if not kernel.in_order(out):
        kernel.item_strides(out)  # raises


def set_fields(initializer: Initializer, **values: Any) -> None:
    """Keep what a scheme's `__init__` or `__post_init__` has checked."""
    for name, value in values.items():
        object.__setattr__(initializer, name, value)


@dataclass(repr=False, eq=False)
class Scaled(Initializer):
    """Another initializer's weights times a factor: what `scaled` makes. It forwards what that initializer knows."""

    initializer: Initializer
    factor: float
    factory: ClassVar[str] = "scaled"
    proportional_to: ClassVar[str | None] = "factor"

    def __post_init__(self) -> None:
        if not isinstance(self.initializer, Initializer):
            raise TypeError(f"initializer must be an initlib initializer, got {self.initializer!r}")
        set_fields(self, factor=positive(self.factor, "factor", or_zero=True))

    @property
    def uses_fans(self) -> bool:
        return self.initializer.uses_fans

    @property
    def needs_axes(self) -> bool:
        return self.initializer.needs_axes

    @property
    def requires_full_draw(self) -> bool:
        return self.initializer.requires_full_draw

    def std(self, shape: Shape, axes: str | None = None) -> float:
        return float(self.initializer.std(shape, axes) * self.factor)

    def bounds(self, shape: Shape, axes: str | None = None) -> tuple[float, float]:
        low, high = self.initializer.bounds(shape, axes)
        return times(low, self.factor), times(high, self.factor)

    def weights(self, weight: DrawRequest, engine: Engine) -> Any:
        return self.initializer.weights(self._times(weight), engine)

    def fill(self, out: Any, weight: DrawRequest, engine: Engine) -> None:
        self.initializer.fill(out, self._times(weight), engine)

    def _times(self, weight: DrawRequest) -> DrawRequest:
        return weight._replace(scale=weight.scale * self.factor)


def times(bound: float, factor: float) -> float:
    """A bound of weights that are multiplied by a factor."""
    return bound * factor if factor else 0.0  # not 0 * inf

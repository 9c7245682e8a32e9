"""Initializer: an immutable description of a distribution of weights. Calling it draws."""

import math
from abc import ABC, abstractmethod
from dataclasses import FrozenInstanceError, fields
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..axes import Shape, canonical_shape, match
from ..draws import kernel
from ..draws.runs import Part, box_shape, normalize_index
from ..draws.stream import Law
from ..dtypes import dtype_name, numpy_dtype
from ..key import Key, as_key

__all__ = ["Independent", "Initializer", "Weight"]


class Weight(NamedTuple):
    """One parameter to draw: what it is, its stream, and the box of it that is wanted (None: all)."""

    shape: tuple[int, ...]
    axes: str | None
    dtype: str
    key: Key
    box: tuple[Part, ...] | None


class Initializer(ABC):
    """A distribution of weights: frozen, comparable, hashable, picklable.

    >>> from initlib import he_normal
    >>> he_normal((784, 128), seed=0).shape
    (784, 128)
    >>> he_normal.std((784, 128))
    0.050507627227610534
    """

    factory: ClassVar[str]  # the public name that makes it, for the repr
    proportional_to: ClassVar[str | None] = None  # the field that every weight is a multiple of, if there is one
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
        out: NDArray[Any] | None = None,
    ) -> NDArray[Any]:
        """Draw the weight of that shape, or one box of it.

        >>> from initlib import glorot_uniform
        >>> whole = glorot_uniform((512, 64), seed=0, name="dense")
        >>> box = glorot_uniform((512, 64), seed=0, name="dense", index=(slice(0, 8), 5))
        >>> bool((box == whole[:8, 5]).all())
        True

        `dtype` is float16, bfloat16, float32 or float64; `axes` says what the axes mean (default "...IO").
        `seed` is an int, a `Key`, a `numpy.random.Generator` or None for fresh entropy; `name` gives the parameter a
        stream of its own. `index` (ints and slices, as for an array) draws a box alone, at the cost of the box.
        `out` is filled in place and returned; it has the dtype and the shape of what is drawn.
        Raises TypeError or ValueError, naming the argument; `out` is then untouched.
        """
        sizes = canonical_shape(shape)
        dtype = dtype_name(dtype)
        match(sizes, axes)
        box = None if index is None else normalize_index(index, sizes)
        kept = sizes if box is None else box_shape(box)
        if out is not None:
            _check_out(out, kept, dtype)
        key = as_key(seed, name)
        if 0 in sizes:
            self._warn_of_no_weights(sizes)
        target = np.empty(kept, numpy_dtype(dtype)) if out is None else out
        if target.size:
            self.fill(target, Weight(sizes, axes, dtype, key, box))
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

    @abstractmethod
    def fill(self, out: NDArray[Any], weight: Weight) -> None:
        """Fill `out`, checked, with the box of the weight: what a call does."""

    def _warn_of_no_weights(self, shape: tuple[int, ...]) -> None:
        """What to say of a shape that holds no weights: nothing, unless the scheme depends on it."""
        return

    def __mul__(self, factor: float) -> "Initializer":
        """The same weights times a factor: `scaled`."""
        from .scaling import scaled  # which builds on this module

        return scaled(self, factor)

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
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        arguments = (f"{f.metadata.get('argument', f.name)}={getattr(self, f.name)!r}" for f in fields(self))  # type: ignore[arg-type]
        return f"{self.factory}({', '.join(arguments)})"

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it, by name: `type(init).from_config(init.get_config()) == init`, as Keras asks.

        >>> from initlib import he_normal
        >>> he_normal.get_config()
        {'factor': 2.0, 'mode': 'fan_in', 'distribution': 'truncated_normal'}
        """
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Initializer":
        """Make it of what `get_config` gave.

        >>> from initlib import uniform
        >>> uniform.from_config({"low": -0.05, "high": 0.05})
        uniform(low=-0.05, high=0.05)
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


def real(value: Any, argument: str) -> float:
    """The argument as a float, checked."""
    if isinstance(value, (str, bytes, complex)):
        raise TypeError(f"{argument} must be a real number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{argument} must be a real number, got {value!r}") from None
    if not math.isfinite(number):
        raise ValueError(f"{argument} must be finite, got {number!r}")
    return number


def positive(value: Any, argument: str, *, or_zero: bool = False) -> float:
    """The argument as a positive float, checked."""
    number = real(value, argument)
    if number < 0 or (number == 0 and not or_zero):
        raise ValueError(f"{argument} must be {'at least' if or_zero else 'above'} 0, got {number!r}")
    return number


def choice(value: Any, argument: str, allowed: tuple[str, ...]) -> str:
    """The argument as one of the allowed names, given in any case."""
    if not isinstance(value, str) or value.lower() not in allowed:
        raise ValueError(f"{argument} must be one of {', '.join(allowed)}, got {value!r}")
    return value.lower()


def set_fields(initializer: Initializer, **values: Any) -> None:
    """Keep what `__post_init__` has checked."""
    for name, value in values.items():
        object.__setattr__(initializer, name, value)


class Independent(Initializer):
    """An initializer whose weights are drawn one by one: a law says what becomes of each word."""

    @abstractmethod
    def law(self, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
        """The law of the weights of that shape."""

    def fill(self, out: NDArray[Any], weight: Weight) -> None:
        law = _law(self, weight.shape, weight.axes, weight.dtype)
        kernel.fill(out, law, weight.key.seed, weight.shape, weight.axes, weight.box)


@lru_cache(maxsize=4096)
def _law(initializer: Independent, shape: tuple[int, ...], axes: str | None, dtype: str) -> Law:
    return initializer.law(shape, axes, dtype)

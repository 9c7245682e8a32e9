"""Parameter: the facts about one stored tensor of a model."""

import math
import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .._arguments import checked_shape, integer
from .._public import public
from ..axes import match, parse
from ..dtypes import DTYPES
from .fills.values import Fill, as_fill
from .rules.constructor_value import ConstructorValue

MOST_AXES = 64  # of a NumPy array
LONGEST_NAME = 512  # characters
LONGEST_DTYPE = 64
LONGEST_AXES = 1024  # characters

KINDS = ("kernel", "recurrent", "bias", "scale", "table", "buffer", "other")

# Names of dtypes, also of those that NumPy lacks: bfloat16, float8_e4m3fn, int4.
_DTYPE = re.compile(r"[a-z]+(\d*)[a-z0-9_]*")

_INDEX = re.compile("[0-9]+")


def check_name(name: Any, argument: str) -> str:
    """Return the argument if it is the name of a tensor. Raises TypeError or ValueError."""
    if not isinstance(name, str):
        raise TypeError(f"{argument} must be a string, got {name!r}")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"{argument} must have at most {LONGEST_NAME} characters, got {len(name)}")
    if not name or not name.isprintable():
        raise ValueError(f"{argument} must be a printable string of at least one character, got {name!r}")
    return name


def as_axes(axes: Any, argument: str) -> str:
    """Return the argument if it is an axes string. Raises TypeError or ValueError."""
    if not isinstance(axes, str):
        raise TypeError(f"{argument} must be a string such as 'OIHW' or '(3 O)I', got {axes!r}")
    if len(axes) > LONGEST_AXES:
        raise ValueError(f"{argument} must have at most {LONGEST_AXES} characters, got {len(axes)}")
    parse(axes)
    return axes


def _dtype(dtype: Any) -> str:
    if isinstance(dtype, str):
        if dtype in DTYPES:
            return dtype
        if len(dtype) <= LONGEST_DTYPE and _DTYPE.fullmatch(dtype):
            return dtype
        raise ValueError(f"dtype must be a name such as 'float32', got {dtype[:LONGEST_DTYPE]!r}")
    try:
        return str(np.dtype(dtype).name)
    except TypeError:
        raise TypeError(f"dtype must be a name or a NumPy dtype, got {dtype!r}") from None


@public("initlib")
@dataclass(frozen=True)
class Parameter:
    """A description of one stored tensor of a model: name, shape, dtype, axes, and the role in its module.

    Args:
        name: the dotted name.
        shape: the full shape.
        dtype: the name of the dtype.
        axes: the axes string, such as "OIHW" (see `fans`); None for unknown axes.
        kind: "kernel", "recurrent", "bias", "scale", "table", "buffer" or "other".
        owner: the class name of the module.
        default: the fill that the module itself uses: an initializer, `keep`, `values` or `parts`.
        tied: the other names of the same tensor.
        padding: the index of the row of a table that stays zero, or None.
        needs: the reason why the tensor needs a rule, or None if a default can fill the tensor.
        constructor: facts about the value that the module's constructor set. A plan does not store these facts.

    Raises:
        TypeError: a field is of the wrong type.
        ValueError: a field has a value that is not allowed. The message names the field.

    Example:
        >>> query = Parameter("layers.7.attn.q.weight", (64, 512), axes="OI", kind="kernel", owner="Linear")
        >>> query.indices, query.size, query.bytes
        ((7,), 32768, 131072)
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    axes: str | None = None
    kind: str = "other"
    owner: str | None = None
    default: Fill | None = None
    tied: tuple[str, ...] = ()
    padding: int | None = None
    needs: str | None = None
    constructor: ConstructorValue | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_name(self.name, "name")
        object.__setattr__(self, "shape", checked_shape(self.shape))
        if len(self.shape) > MOST_AXES:
            raise ValueError(f"shape must have at most {MOST_AXES} axes, got {len(self.shape)}")
        object.__setattr__(self, "dtype", _dtype(self.dtype))
        if self.axes is not None:
            match(self.shape, as_axes(self.axes, "axes"))
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if self.owner is not None:
            check_name(self.owner, "owner")
        if self.default is not None:
            as_fill(self.default, "default")
        if isinstance(self.tied, str):
            raise TypeError(f"tied must be a sequence of names, got {self.tied!r}")
        if self.tied != ():
            object.__setattr__(self, "tied", tuple(check_name(name, "tied") for name in self.tied))
        if self.padding is not None:
            rows = self.shape[0] if self.shape else 0
            object.__setattr__(self, "padding", integer(self.padding, "padding", least=0, below=rows))
        if self.needs is not None:
            check_name(self.needs, "needs")
        if self.constructor is not None and not isinstance(self.constructor, ConstructorValue):
            raise TypeError(f"constructor must be a ConstructorValue, got {self.constructor!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """Return the name, then the other names of the same tensor."""
        return (self.name, *self.tied)

    @cached_property
    def indices(self) -> tuple[int, ...]:
        """Return the integers in the name, for rules by depth, such as (3, 1) of `h.3.conv1.weight`."""
        return tuple(int(digits) for digits in _INDEX.findall(self.name))

    @cached_property
    def form(self) -> Hashable:
        """Return the fields that repeated layers share: all but names, `default`, `needs` and `constructor`."""
        return self.shape, self.dtype, self.axes, self.kind, self.owner, self.padding

    @property
    def is_vector(self) -> bool:
        """Return True for a bias, a scale, or another tensor with at most one axis longer than 1.

        For kernels, tables, and parameters with known axes, return False.
        """
        if self.axes is not None or self.kind in ("kernel", "recurrent", "table"):
            return False
        return self.kind in ("bias", "scale") or sum(size > 1 for size in self.shape) < 2

    @property
    def size(self) -> int:
        """Return the number of weights."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Return the number of bytes that the tensor occupies."""
        digits = _DTYPE.fullmatch(self.dtype)[1]  # type: ignore[index]  # checked when it was made
        return self.size * int(digits or 8) // 8


# Copies without `dataclasses.replace`, which checks all fields again and takes longer than the rest of planning.


def _copy(parameter: Parameter) -> tuple[Parameter, dict[str, Any]]:
    """Return a copy, and the dictionary of its fields, which the caller changes."""
    copy, fields = object.__new__(Parameter), parameter.__dict__.copy()
    fields["form"] = parameter.form  # computed once for all copies
    object.__setattr__(copy, "__dict__", fields)
    return copy, fields


def renamed(parameter: Parameter, names: tuple[str, ...], constructor: ConstructorValue | None) -> Parameter:
    """Return a copy with other names, which are not checked, and another constructor value."""
    copy, fields = _copy(parameter)
    fields.pop("indices", None)  # of the name
    fields["name"], fields["tied"], fields["constructor"] = names[0], names[1:], constructor
    return copy


def planned(parameter: Parameter, view: Parameter) -> Parameter:
    """Return the parameter that a plan stores: with the axes and the kind that rules receive in `view`.

    `default`, `needs` and `constructor` become None, because only planning needs them.
    """
    copy, fields = _copy(parameter)
    fields["axes"], fields["kind"], fields["form"] = view.axes, view.kind, view.form
    fields["default"] = fields["needs"] = fields["constructor"] = None
    return copy

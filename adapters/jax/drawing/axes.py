"""JAX's axis arguments as an axes string."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

RECEPTIVE_FIELD = "HWDACEFGJKLMNPQRSTUVXYZ"

AxisArgument = int | Sequence[int]
Ints = int | tuple[int, ...]


class Kernel(NamedTuple):
    """Arguments in_axis, out_axis and batch_axis of a kernel; the other axes are its receptive field."""

    in_axis: Ints = -2
    out_axis: Ints = -1
    batch_axis: Ints = ()

    def of(self, shape: tuple[int, ...]) -> str | None:
        """Return the axes of that shape. An axis that is both input and output is in neither fan: a stack."""
        if self.in_axis == -2 and len(shape) <= 1:
            raise ValueError(
                f"Can't compute input and output sizes of a {len(shape)}-dimensional weights tensor with default "
                "in_axis. Must be at least 2D or specify in_axis explicitly."
            )
        return None if self == Kernel() else _letters(self, len(shape))


class Matrix(NamedTuple):
    """Argument column_axis of an orthogonal matrix; the other axes together are its rows."""

    column_axis: Ints = -1

    def of(self, shape: tuple[int, ...]) -> str | None:
        """Return the axes of that shape."""
        if len(shape) < 2:
            raise ValueError("orthogonal initializer requires at least a 2D shape")
        return None if self == Matrix() else _letters(Kernel((), self.column_axis, ()), len(shape))


class Delta(NamedTuple):
    """Axes of a delta-orthogonal kernel: the last two, for every column_axis."""

    def of(self, shape: tuple[int, ...]) -> str | None:
        """Return the axes of that shape."""
        if len(shape) not in (3, 4, 5):
            raise ValueError("Delta orthogonal initializer requires a 3D, 4D or 5D shape.")
        if shape[-1] < shape[-2]:
            raise ValueError("`fan_in` must be less or equal than `fan_out`. ")
        return None


def ints(value: object, argument: str) -> Ints:
    """Return an axis, or a tuple of axes, checked."""
    if isinstance(value, (tuple, list, range, np.ndarray)):
        return tuple(_int(axis, argument) for axis in value)
    return _int(value, argument)


def _int(value: object, argument: str) -> int:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    raise TypeError(f"{argument} must be an int or a sequence of ints, got {value!r}")


@lru_cache(maxsize=1024)
def _letters(kernel: Kernel, ndim: int) -> str:
    roles: list[set[str]] = [set() for _ in range(ndim)]
    for (argument, named), role in zip(kernel._asdict().items(), "IOB", strict=True):
        for axis in named if isinstance(named, tuple) else (named,):
            if not -ndim <= axis < ndim:
                raise np.exceptions.AxisError(axis, ndim, argument)
            if role in roles[axis] or (role == "B" and roles[axis]):
                raise ValueError(
                    f"{argument} must name each axis once, and batch_axis must name no axis of in_axis or out_axis, "
                    f"got axis {axis % ndim} of {ndim} twice in {kernel}"
                )
            roles[axis].add(role)
    field = iter(RECEPTIVE_FIELD)
    letters = ("B" if len(role) == 2 else next(iter(role)) if role else next(field) for role in roles)
    return "".join(letters) if any(roles) else "..."

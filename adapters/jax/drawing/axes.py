"""What JAX's axis arguments say, as an axes string."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

RECEPTIVE_FIELD = "HWDACEFGJKLMNPQRSTUVXYZ"
DEFAULT = (-2, -1, ())


class Kernel(NamedTuple):
    """in_axis, out_axis and batch_axis of a kernel: the other axes are its receptive field."""

    in_axis: Any
    out_axis: Any
    batch_axis: Any

    def of(self, shape: tuple[int, ...]) -> str | None:
        """The axes of that shape. An axis that is both input and output is in neither fan: a stack."""
        if self.in_axis == -2 and len(shape) <= 1:
            raise ValueError(
                f"Can't compute input and output sizes of a {len(shape)}-dimensional weights tensor with default "
                "in_axis. Must be at least 2D or specify in_axis explicitly."
            )
        return None if self == DEFAULT else _letters(self, len(shape))


class Matrix(NamedTuple):
    """column_axis of an orthogonal matrix: the other axes together are its rows."""

    column_axis: int

    def of(self, shape: tuple[int, ...]) -> str | None:
        """The axes of that shape."""
        if len(shape) < 2:
            raise ValueError("orthogonal initializer requires at least a 2D shape")
        return None if self.column_axis == -1 else _letters(Kernel((), self.column_axis, ()), len(shape))


class Delta(NamedTuple):
    """The axes of a delta-orthogonal kernel: JAX's are the last two, whichever are the columns."""

    def of(self, shape: tuple[int, ...]) -> str | None:
        """The axes of that shape."""
        if len(shape) not in (3, 4, 5):
            raise ValueError("Delta orthogonal initializer requires a 3D, 4D or 5D shape.")
        if shape[-1] < shape[-2]:
            raise ValueError("`fan_in` must be less or equal than `fan_out`. ")
        return None


def ints(value: Any, argument: str) -> Any:
    """An axis, or a tuple of them, checked."""
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, (tuple, list, range, np.ndarray)):
        return tuple(ints(axis, argument) for axis in value)
    raise TypeError(f"{argument} must be an int or a sequence of ints, got {value!r}")


@lru_cache(maxsize=1024)
def _letters(kernel: Kernel, ndim: int) -> str:
    roles: list[set[str]] = [set() for _ in range(ndim)]
    for (argument, given), role in zip(kernel._asdict().items(), "IOB", strict=True):
        for axis in given if isinstance(given, tuple) else (given,):
            if not -ndim <= axis < ndim:
                raise np.exceptions.AxisError(axis, ndim, argument)
            if role in roles[axis] or (role == "B" and roles[axis]):
                raise ValueError(
                    f"{argument} {given!r} names axis {axis % ndim} of {ndim} again: an axis may stand once "
                    f"in each, and one of batch_axis in no other; got {kernel}"
                )
            roles[axis].add(role)
    field = iter(RECEPTIVE_FIELD)
    return (
        "..."
        if ndim == 0
        else "".join("B" if len(role) == 2 else next(iter(role)) if role else next(field) for role in roles)
    )

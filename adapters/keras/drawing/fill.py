"""Fill of variables: the weights of a plan's entries, written to the memory of Keras's backend."""

from collections.abc import Iterable
from typing import Any

from initlib.dtypes import numpy_dtype
from initlib.key import Key
from initlib.plans.entry import Entry
from initlib.plans.fill import fill_arrays

from .draw import BACKEND, as_array, as_tensor

if BACKEND == "jax":
    from ...jax.drawing.fill import filled
elif BACKEND == "torch":
    from ...torch.drawing.fill import fill_boxes

LARGE = 2**26  # bytes that are drawn at a time where the backend copies arrays


def fill(variables: list[tuple[Any, Entry]], key: Key) -> None:
    """Fill variables, each with the tensor of an entry that is not kept, under the key of the full model."""
    if BACKEND == "jax":
        values = [variable.value for variable, _ in variables]
        placed = [value.sharding if value.committed else None for value in values]
        entries = (entry for _, entry in variables)
        for (variable, _), weight in zip(
            variables, filled(zip(entries, placed, values, strict=True), key), strict=True
        ):
            variable.assign(weight)
    elif BACKEND == "torch":
        fill_boxes([(entry, ..., variable.value.detach()) for variable, entry in variables], key)
    else:
        for group in _groups(variables):
            arrays = [
                entry.new_array(entry.parameter.shape) if entry.filled else as_array(variable.value).copy()
                for variable, entry in group
            ]
            fill_arrays([(entry, ..., array) for (_, entry), array in zip(group, arrays, strict=True)], key)
            for (variable, entry), array in zip(group, arrays, strict=True):
                variable.assign(as_tensor(array, entry.parameter.dtype))


def _groups(variables: Iterable[tuple[Any, Entry]]) -> Iterable[list[tuple[Any, Entry]]]:
    """Yield the variables in groups of about `LARGE` bytes, at least one variable each."""
    group: list[tuple[Any, Entry]] = []
    size = 0
    for variable, entry in variables:
        group.append((variable, entry))
        size += entry.parameter.size * numpy_dtype(entry.parameter.dtype).itemsize
        if size >= LARGE:
            yield group
            group, size = [], 0
    if group:
        yield group

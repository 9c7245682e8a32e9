"""Values that constructors gave the arrays of a tree, if they are known."""

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import jax
import numpy as np
from numpy.typing import NDArray

from initlib import Parameter, ones, zeros
from initlib.adapters.common.roles import ParameterRole
from initlib.plans.rules.constructor_value import ConstructorValue
from initlib.plans.rules.regularity import constant_of

from .equinox import bias_bound
from .stacks import Unrolled
from .tensors import Leaf

# By module of flax.nnx, which `initialize` fills in place, then by attribute and place of a layer. Other trees are new.
_records: WeakKeyDictionary[Any, dict[tuple[Any, ...], ConstructorValue]] = WeakKeyDictionary()


def constructor_value(leaf: Leaf, layer: Unrolled, role: ParameterRole) -> ConstructorValue:
    """Return the value that a constructor gave a weight of an array."""
    record = _records.get(leaf.owner, {}).get(_place(leaf, layer)) if leaf.module is not None else None
    if record is not None:
        return record
    bound = None if leaf.owner is None or role.kind != "bias" else bias_bound(leaf.owner)
    draws = role.kind in ("kernel", "recurrent", "table") or bound is not None
    start = ones if role.kind == "scale" else role.default
    read = _reader(leaf.value, layer)
    if draws and leaf.owner is None and read is not None and constant_of(read(...)) == 0:
        draws = False  # a class that is known only by name may hold a blank array, made to be initialized
    return ConstructorValue(
        read=read,
        draws=True if draws else False if role.kind in ("bias", "scale") else None,
        bound=bound,
        zeroed=role.default == zeros,
        start=start if role.kind in ("bias", "scale", "other", "buffer") else None,
    )


def remember(leaf: Leaf, layer: Unrolled, parameter: Parameter) -> None:
    """Record the value that a constructor gave, which training will change."""
    if leaf.module is not None and leaf.owner is not None and parameter.constructor is not None:
        _records.setdefault(leaf.owner, {})[_place(leaf, layer)] = parameter.constructor.record(parameter)


def _place(leaf: Leaf, layer: Unrolled) -> tuple[Any, ...]:
    return leaf.components[-1], *map(str, layer.at)


def _reader(value: Any, layer: Unrolled) -> Callable[[Any], NDArray[Any]] | None:
    """Return a function that reads a box of a weight; None where the values are not here."""
    is_array = isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer)
    if not isinstance(value, np.ndarray) and not (is_array and value.is_fully_addressable):
        return None
    return lambda index: np.asarray(np.asarray(value)[layer.at][index])

"""Verification: compare the weights that a model holds with those of a plan and a seed."""

from collections.abc import Iterator
from typing import Any

from initlib import Plan
from initlib._public import public
from initlib.adapters.common.comparison import first_difference
from initlib.checkpoints.verify import Difference
from initlib.dtypes import DTYPES
from initlib.key import Key, as_key
from initlib.plans.entry import Entry
from initlib.stream.boxes import normalize_index

from ..drawing.draw import BACKEND, as_array
from .tensors import weights

if BACKEND == "jax":
    from ...jax.drawing.shards import shards


@public("initlib.adapters.keras")
def verify(model: Any, plan: Plan, seed: Any, *, whole: bool = False, prefix: str = "") -> tuple[Difference, ...]:
    """Compare the weights that a model holds now with those that a plan and a seed give.

    On JAX each process compares the shards that it holds, without communication. Names, shapes and dtypes are compared
    for all variables, values for those that the plan fills. Orthogonal matrices, which are products, may differ by
    1e-6.

    Args:
        model: a built model or layer.
        plan: the plan, as `plan` or `initialize` return it.
        seed: the seed with which the model was initialized: an int or a `Key`.
        whole: compare all weights. By default samples of 1024 weights are compared, 16 for each variable and shard:
            they miss single changed weights.
        prefix: as for `plan`.

    Returns:
        The differences: name, what differs, and the index of the first weight that differs, in the full weight. The
        result is empty where nothing differs.

    Example:
        >>> import keras
        >>> import initlib.adapters.keras as init
        >>> model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(128, use_bias=False)])
        >>> plan = init.initialize(model, seed=0)
        >>> init.verify(model, plan, seed=0)
        ()
        >>> print(*init.verify(model, plan, seed=1))
        'dense.kernel' differs from weight (0, 0) on
    """
    key = as_key(seed)
    entries = {name: entry for entry in plan.entries for name in entry.parameter.names}
    absent = dict.fromkeys(entry.parameter.name for entry in plan.entries)
    differences = []
    for weight in weights(model, prefix):
        entry = entries.get(weight.names[0])
        if entry is None:
            differences.append(Difference(weight.names[0], "is not in the plan"))
        else:
            absent.pop(entry.parameter.name, None)
            differences += _compare(weight.variable, weight.names[0], entry, key, whole)
    return (*differences, *(Difference(name, "is not there") for name in absent))


def _compare(variable: Any, name: str, entry: Entry, key: Key, whole: bool) -> Iterator[Difference]:
    """Yield the difference of a variable from its entry, if there is one."""
    parameter, shape = entry.parameter, tuple(variable.shape)
    if shape != parameter.shape:
        yield Difference(name, f"has shape {shape}, the plan has {parameter.shape}")
    elif variable.dtype != parameter.dtype:
        yield Difference(name, f"has dtype {variable.dtype}, the plan has {parameter.dtype}")
    elif not entry.kept and variable.dtype in DTYPES:
        indices = [first_difference(entry, key, box, read, whole=whole) for box, read in _boxes(variable)]
        index = min((index for index in indices if index is not None), default=None)
        if index is not None:
            yield Difference(name, "differs from weight", index)


def _boxes(variable: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the boxes of a variable that this process holds, each with a function that reads it."""
    if BACKEND == "jax":
        yield from shards(variable.value)
        return
    array = as_array(variable.value)
    box = tuple(part._replace(drop=False) for part in normalize_index(..., array.shape))
    yield box, array.__getitem__

"""Verification: compare the weights that a pytree holds with those of a plan and a seed."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from initlib import Key, Parameter, Plan, keep
from initlib._public import public
from initlib.adapters.common.comparison import first_difference
from initlib.checkpoints.verify import Difference
from initlib.key import as_key
from initlib.plans.entry import Entry

from ..drawing.draw import known_key
from ..drawing.keys import words_of
from ..drawing.shards import shards
from .stacks import At, Layers, Stacks
from .tensors import Leaf, Tree, leaves
from .weight_norm import Norms, norms_of

COMPUTED = 1e-5  # how far a weight-normed weight may be from its draw, relative to the largest weight


@public("initlib.adapters.jax")
def verify(
    model: Tree, plan: Plan, seed: Any, *, whole: bool = False, stack: Mapping[str, Any] | None = None
) -> tuple[Difference, ...]:
    """Compare the weights that a pytree holds now with those that a plan and a seed give.

    Each process compares the shards that it holds, without communication. Names, shapes and dtypes are compared for all
    arrays, values for those that the plan fills. A weight-normed kernel is compared as its layer computes it.
    Orthogonal matrices, which are products, may differ by 1e-6.

    Args:
        model: arrays under any shardings: the result of `initialize`, or a module of `flax.nnx`.
        plan: the plan, as `plan` returns it.
        seed: the seed with which the arrays were initialized: an int, a `Key` or a key of JAX.
        whole: compare all weights. By default samples of 1024 weights are compared, 16 for each shard: they miss single
            changed weights.
        stack: as for `plan`.

    Returns:
        The differences: name, what differs, and the index of the first weight that differs, in the full weight; of a
        stack, in its first layer that differs. The result is empty where nothing differs.

    Example:
        >>> import jax
        >>> import initlib.adapters.jax as init
        >>> from initlib import he_normal
        >>> shapes = {"dense": {"kernel": jax.ShapeDtypeStruct((784, 128), "float32")}}
        >>> plan, weights = init.plan(shapes, he_normal), init.initialize(shapes, he_normal, seed=0)
        >>> init.verify(weights, plan, seed=0)
        ()
        >>> print(*init.verify(weights, plan, seed=1))
        'dense.kernel' differs from weight (0, 0) on
    """
    key = known_key(words_of(seed, None, "verify")) if isinstance(seed, jax.Array) else as_key(seed)
    found = [leaf for leaf in leaves(model) if not leaf.is_key]
    norms = {pair.kernel: pair for pair in norms_of(found)}
    entries = {name: entry for entry in plan.entries for name in entry.parameter.names}
    stacks, missing, differences = Stacks(stack), dict(entries), []
    for leaf in found:
        layers = []
        for layer in stacks.unrolled(leaf.names[0], tuple(leaf.value.shape)):
            if layer.name in entries:
                layers.append((layer.at, entries[layer.name]))
                for name in entries[layer.name].parameter.names:
                    missing.pop(name, None)
            else:
                differences.append(Difference(layer.name, "is not in the plan"))
        facts = [difference for at, entry in layers for difference in _facts(leaf, at, entry)]
        differences += facts or _values(leaf, layers, norms.get(leaf), key, whole)
    absent = dict.fromkeys(entry.parameter.name for entry in missing.values())
    return (*differences, *(Difference(name, "is not there") for name in absent))


def _facts(leaf: Leaf, at: At, entry: Entry) -> Iterator[Difference]:
    """Yield the difference of an array's shape and dtype from an entry, if there is one."""
    parameter, dtype = entry.parameter, leaf.value.dtype.name
    fixed = [axis for axis, place in enumerate(at) if isinstance(place, int)]
    shape = tuple(size for axis, size in enumerate(leaf.value.shape) if axis not in fixed)
    if shape != parameter.shape:
        yield Difference(parameter.name, f"has shape {shape}, the plan has {parameter.shape}")
    elif dtype != parameter.dtype:
        yield Difference(parameter.name, f"has dtype {dtype}, the plan has {parameter.dtype}")
    elif not (entry.kept or leaf.has_values):
        yield Difference(parameter.name, "has no values: it is a shape")


def _values(
    leaf: Leaf, layers: list[tuple[At, Entry]], norms: Norms | None, key: Key, whole: bool
) -> Iterator[Difference]:
    """Yield the difference of an array's values from the entries of its layers, if there is one."""
    if not layers or all(entry.kept for _, entry in layers):
        return
    if norms is not None and norms.scale.has_values and len(layers) == 1 and layers[0][1].filled:
        index = _computed_difference(norms, layers[0][1], key)
    else:
        stored = Parameter(leaf.names[0], tuple(leaf.value.shape), leaf.value.dtype.name)
        alone = layers[0][0] == ()
        entry = layers[0][1] if alone else Layers(stored, leaf.names[0], keep, layers=tuple(layers))
        indices = [first_difference(entry, key, box, read, whole=whole) for box, read in shards(leaf.value)]
        index = min((index for index in indices if index is not None), default=None)
    if index is not None:
        name, place = _of_layer(layers, index)
        yield Difference(name, "differs from weight", place)


def _of_layer(layers: list[tuple[At, Entry]], index: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Return the name of the layer that holds an index of its array, and the index in the weight of the layer."""
    for at, entry in layers:
        fixed = {axis: place for axis, place in enumerate(at) if isinstance(place, int)}
        if all(index[axis] == place for axis, place in fixed.items()):
            return entry.parameter.name, tuple(each for axis, each in enumerate(index) if axis not in fixed)
    raise AssertionError(index)


def _computed_difference(norms: Norms, entry: Entry, key: Key) -> tuple[int, ...] | None:
    """Return the first index at which a normalized kernel, as its layer computes it, differs from the draw."""
    kernel = norms.kernel.value
    shape = [size if axis in norms.axes else 1 for axis, size in enumerate(kernel.shape)]
    factors = jnp.asarray(norms.scale.value).reshape(shape) / norms.of(kernel).reshape(shape)
    drawn = entry.draw(key)
    differs = np.abs(np.asarray(kernel * factors) - drawn) > COMPUTED * np.abs(drawn).max()
    places = np.argwhere(differs)
    return tuple(map(int, places[0])) if len(places) else None

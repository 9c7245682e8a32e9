"""Fill of a plan's entry as an array: each device of a sharding draws its own shard."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding, SingleDeviceSharding
from numpy.typing import NDArray

from initlib import Initializer, Key
from initlib.dtypes import rounded
from initlib.key import fold_number
from initlib.plans.entry import Entry
from initlib.plans.fill import Target, fill_arrays
from initlib.stream.boxes import Box, Part, box_index, box_shape, full_box, normalize_index

from .draw import compiled, memory, traced
from .engine import enciphered

HOST = "cpu"  # the platform whose memory the compiled kernel fills


def filled(tensors: Iterable[tuple[Entry, Sharding | None, Any]], key: Any) -> list[jax.Array]:
    """Return the tensors of entries under the key of the whole model: a `Key`, or, traced, its two words.

    Each entry comes with its sharding and with the present tensor, because the entry may keep parts of the tensor. For
    CPUs, one call of the compiled kernel draws the boxes of all devices. Other devices draw by programs that are
    compiled once for each shape. The host reads old weights.
    """
    targets: list[Target[NDArray[Any]]] = []
    made = [_prepared(entry, key, sharding, current, targets) for entry, sharding, current in tensors]
    fill_arrays(targets, key)
    return [finish() for finish in made]


def _prepared(
    entry: Entry, key: Key | jax.Array, sharding: Sharding | None, current: Any, targets: list[Target[NDArray[Any]]]
) -> Callable[[], jax.Array]:
    """Return a function that returns the tensor of an entry, after the targets that are added here are filled."""
    if isinstance(key, Key):
        devices = jax.devices()[:1] if sharding is None else sharding.device_set
        if entry.added or all(device.platform == HOST for device in devices):
            return _by_kernel(entry, sharding, current, targets)
        words = np.array([key.fold_in(piece.stream).words for piece in entry.pieces], np.uint32)
    elif entry.added:
        raise ValueError(
            f"{entry.parameter.name} must be filled outside of jax.jit, because the host reads the old weights, got "
            f"{entry.added[0]!r} in a traced function"
        )
    else:
        numbers = [Key(fold_number(piece.stream)).words for piece in entry.pieces]
        words = jax.vmap(enciphered, (None, 0))(key, np.array(numbers, np.uint32))
    dtype, kept = entry.parameter.dtype, None if entry.filled else current
    values = [piece.initializer for piece in entry.pieces if piece.drawn is None]
    arrays = [rounded(np.asarray(each), dtype) for each in values]
    program = compiled(sharding if isinstance(key, Key) else None)
    made = program(_assembled, _recipe(entry), sharding, words, arrays, kept)
    return lambda: made


def _by_kernel(
    entry: Entry, sharding: Sharding | None, current: Any, targets: list[Target[NDArray[Any]]]
) -> Callable[[], jax.Array]:
    """Add the box of each device to the targets, in memory that JAX takes over when it is filled."""
    shape, dtype = entry.parameter.shape, entry.parameter.dtype

    def box_of(index: Any) -> Box:
        return normalize_index(index, shape)

    def part(index: Any) -> NDArray[Any]:
        out = memory(box_shape(box_of(index)), dtype)
        if not entry.filled:
            out[...] = np.asarray(current[index])
        targets.append((entry, index, out))
        return out

    if sharding is None or isinstance(sharding, SingleDeviceSharding):
        full = part(...)
        return lambda: jax.device_put(full, sharding)
    if entry.requires_full_draw:
        full = part(...)  # each box alone would cost as much
        return lambda: jax.make_array_from_callback(shape, sharding, lambda index: full[index])
    parts: dict[Box, NDArray[Any]] = {}  # replicas are drawn once
    for index in sharding.addressable_devices_indices_map(shape).values():
        if box_of(index) not in parts:
            parts[box_of(index)] = part(index)
    return lambda: jax.make_array_from_callback(shape, sharding, lambda index: parts[box_of(index)])


Boxes = tuple[tuple[Box, Box], ...]  # of the stored tensor, and of the weight


class _Group(NamedTuple):
    """Weights that differ in their streams alone, so that one call draws them; or the one array of `values`."""

    initializer: Initializer | None
    shape: tuple[int, ...]
    axes: str
    numbers: tuple[int, ...]  # of the pieces
    boxes: tuple[Boxes, ...]  # of each piece


Recipe = tuple[tuple[int, ...], str, tuple[_Group, ...]]


def _recipe(entry: Entry) -> Recipe:
    """Return how weights make the tensor, without the names of their streams: equal for all layers of a model."""
    shape = entry.parameter.shape
    groups: dict[Any, list[tuple[int, Boxes]]] = {}
    for number, piece in enumerate(entry.pieces):
        alike = piece.drawn, piece.shape, piece.axes, number if piece.drawn is None else None
        boxes = tuple(
            (normalize_index(box.outer, shape), normalize_index(box.inner, piece.shape)) for box in piece.boxes
        )
        groups.setdefault(alike, []).append((number, boxes))
    made = []
    for (initializer, piece_shape, axes, _), pieces in groups.items():
        made.append(_Group(initializer, piece_shape, axes, *zip(*pieces, strict=True)))
    return shape, entry.parameter.dtype, tuple(made)


def _assembled(
    shape: tuple[int, ...], dtype: str, groups: tuple[_Group, ...], words: jax.Array, arrays: Any, current: Any
) -> jax.Array:
    """Return the tensor, traced: one call draws the weights of a group, and each goes to its place."""
    values = iter(arrays)
    tensor = current
    for group in groups:
        axes, order = _stacking(group, shape)
        drawn = _drawn(group, [group.numbers[n] for n in order or range(len(group.numbers))], words, dtype, values)
        if order:
            stacked = drawn.reshape(*(shape[axis] for axis in axes), *group.shape)
            return jnp.moveaxis(stacked, range(len(axes)), axes)
        if tensor is None:
            tensor = jnp.zeros(shape, dtype)
        for weight, boxes in zip(drawn, group.boxes, strict=True):
            for outer, inner in boxes:
                tensor = tensor.at[box_index(outer)].set(weight[box_index(inner)])
    return tensor


def _drawn(group: _Group, numbers: list[int], words: jax.Array, dtype: str, values: Iterator[jax.Array]) -> Any:
    """Return the weights of a group, in that order along a new first axis."""
    if group.initializer is None:
        return next(values)[None]
    draw = partial(traced, group.initializer, group.shape, dtype, group.axes)
    if len(numbers) == 1:
        return draw(words[numbers[0]])[None]
    return jax.vmap(draw)(words[np.array(numbers)])


def _stacking(group: _Group, shape: tuple[int, ...]) -> tuple[tuple[int, ...], list[int]]:
    """Return the axes of the tensor that number its weights, and the order of the weights, if they fill the tensor.

    There are no such axes if one weight is the whole tensor.
    """
    axes = tuple(axis for axis, part in enumerate(group.boxes[0][0][0]) if part.drop)
    every, inner = full_box(shape), full_box(group.shape)
    numbers, order = {boxes: n for n, boxes in enumerate(group.boxes)}, []
    for at in np.ndindex(*(shape[axis] for axis in axes)):
        placed = {axis: Part(index, 1, 1, drop=True) for axis, index in zip(axes, at, strict=True)}
        outer = tuple(placed.get(axis, part) for axis, part in enumerate(every))
        if ((outer, inner),) not in numbers:
            return axes, []
        order.append(numbers[(outer, inner),])
    return axes, order

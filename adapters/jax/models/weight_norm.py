"""Weight norm: scales for which the weight of a normalized layer is the drawn kernel, as in PyTorch."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from initlib import Plan

from .tensors import Leaf

Place = tuple[str, ...]  # the components of a path


class Norms(NamedTuple):
    """Scales of a normalized layer: the norms of a kernel along all axes but some."""

    scale: Leaf
    kernel: Leaf
    axes: tuple[int, ...]  # of the kernel, along which there is a scale for each index

    @property
    def note(self) -> str:
        """Return the note of a plan that sets the scales to the norms of the kernel."""
        return f"norms of the drawn {self.kernel.names[0]}"

    def of(self, kernel: jax.Array) -> jax.Array:
        """Return the scales of a kernel."""
        value = self.scale.value
        others = tuple(axis for axis in range(kernel.ndim) if axis not in self.axes)
        squares = jnp.square(jnp.abs(kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32))))
        return jnp.sqrt(squares.sum(others)).reshape(value.shape).astype(value.dtype)


def norms_of(tree_leaves: list[Leaf]) -> list[Norms]:
    """Return the scales of all normalized layers in a tree."""
    by_place = {leaf.components: leaf for leaf in tree_leaves}
    pairs = []
    for scale in tree_leaves:
        places, feature_axes = _kernel_of(scale)
        kernel = next((by_place[place] for place in places if place in by_place), None)
        if kernel is None:
            continue
        shape = kernel.value.shape
        axes = tuple(axis % len(shape) for axis in feature_axes)
        if math.prod(shape[axis] for axis in axes) == math.prod(scale.value.shape):
            pairs.append(Norms(scale, kernel, axes))
    return pairs


def set_by(plan: Plan, norms: Iterable[Norms]) -> list[Norms]:
    """Return the scales that a plan sets to the norms of their kernels, as its notes state."""
    notes = {name: entry.notes for entry in plan.entries for name in entry.parameter.names}
    return [each for each in norms if each.note in notes.get(each.scale.names[0], ())]


def _kernel_of(scale: Leaf) -> tuple[list[Place], tuple[int, ...]]:
    """Return the possible places of the kernel that an array scales, and the axes of its scales."""
    *outer, name = scale.components
    if name.endswith("/scale"):  # in linen the layer is beside the array, or beside the normalizing module
        path = name.split("/")[:-1]
        return [(*outer, *path), (*outer[:-1], *path)], (-1,)
    owner = type(scale.owner)
    if owner.__name__ == "WeightNorm" and owner.__module__.startswith("equinox.") and name == "g":
        axis = scale.owner.axis
        return [(*outer, "layer", scale.owner.weight_name)], () if axis is None else (axis,)
    if scale.module is not None:
        from flax import nnx

        if isinstance(scale.around, nnx.WeightNorm) and outer[-1] == "scales":
            axes = scale.around.feature_axes
            path = [str(each) for each in scale.paths[0][-1].key]
            return [(*outer[:-1], "layer_instance", *path)], (axes,) if isinstance(axes, int) else tuple(axes)
    return [], ()

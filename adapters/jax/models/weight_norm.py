"""Weight norm: the scales that make the weight of a normalized layer the drawn kernel, as in PyTorch."""

import math
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp

from .tensors import Leaf

NOTE = "norms of the drawn {kernel}"


class Norms(NamedTuple):
    """The scales of a normalized layer: the norms of a kernel along all axes but some."""

    scale: Leaf
    kernel: Leaf
    axes: tuple[int, ...]  # of the kernel, along which there is a scale for each index

    def of(self, kernel: jax.Array) -> jax.Array:
        """Return the scales of a kernel."""
        value = self.scale.value
        others = tuple(axis for axis in range(kernel.ndim) if axis not in self.axes)
        squares = jnp.square(jnp.abs(kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32))))
        return jnp.sqrt(squares.sum(others)).reshape(value.shape).astype(value.dtype)


def norms_of(found: list[Leaf]) -> list[Norms]:
    """Return the scales of all normalized layers in a tree."""
    by_place = {leaf.components: leaf for leaf in found}
    pairs = []
    for scale in found:
        place, feature_axes = _kernel_of(scale)
        if place not in by_place:
            continue
        shape = by_place[place].value.shape
        axes = tuple(axis % len(shape) for axis in feature_axes)
        if math.prod(shape[axis] for axis in axes) == math.prod(scale.value.shape):
            pairs.append(Norms(scale, by_place[place], axes))
    return pairs


def _kernel_of(scale: Leaf) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the place of the kernel that an array scales, and the axes of its scales; () of another array."""
    *outer, name = scale.components
    if outer and re.fullmatch(r"WeightNorm(_\d+)?", outer[-1]) and name.endswith("/scale"):  # linen
        return (*outer[:-1], *name.split("/")[:-1]), (-1,)
    owner = type(scale.owner)
    if owner.__name__ == "WeightNorm" and owner.__module__.startswith("equinox.") and name == "g":
        return (*outer, "layer", scale.owner.weight_name), () if scale.owner.axis is None else (scale.owner.axis,)
    if scale.module is not None:
        from flax import nnx

        if isinstance(scale.around, nnx.WeightNorm) and outer[-1] == "scales":
            axes = scale.around.feature_axes
            path = map(str, scale.paths[0][-1].key)
            return (*outer[:-1], "layer_instance", *path), (axes,) if isinstance(axes, int) else tuple(axes)
    return (), ()

"""Arrays of a pytree, as measurements take them: by name, with their axes, in NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..models.layers import role
from ..models.tensors import Leaf, Tree, children, leaves

BARE = "params"  # the name of params that are one array


def is_bare(params: Tree) -> bool:
    """Return whether the params are one array, which has no name."""
    return isinstance(params, (jax.Array, np.ndarray))


def named_arrays(params: Tree) -> tuple[list[Leaf], Tree]:
    """Return the arrays by the names of plans, without random keys, and the tree with these names."""
    tree = {BARE: params} if is_bare(params) else params
    return [leaf for leaf in leaves(tree) if not leaf.is_key], tree


def axes_of(arrays: list[Leaf]) -> list[str | None]:
    """Return the roles of the axes of arrays, as far as their modules or names state them."""
    below = children(arrays)
    return [role(leaf, leaf.value.ndim, below[leaf.components[:-2]]).axes for leaf in arrays]


def array(x: ArrayLike | None) -> Any:
    """Return the numbers of an array, for NumPy; None for None."""
    if x is None:
        return None
    numbers = np.asarray(x)
    return numbers if numbers.dtype.kind != "V" and numbers.dtype.itemsize > 2 else numbers.astype(np.float32)


def is_float(x: object) -> bool:
    """Return whether a leaf of a tree is an array of floats."""
    return hasattr(x, "dtype") and bool(jnp.issubdtype(x.dtype, jnp.floating))


def floats_in(tree: Tree) -> list[jax.Array]:
    """Return the arrays of floats in a tree."""
    return list(filter(is_float, jax.tree.leaves(tree)))

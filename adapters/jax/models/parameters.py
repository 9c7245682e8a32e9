"""Parameters of a plan for the weights in the arrays of a tree, with the facts about their constructor values."""

import jax.numpy as jnp

from initlib import Parameter, keep

from .constructor_values import constructor_value
from .layers import role
from .stacks import Unrolled
from .tensors import Leaf


def parameter_of(leaf: Leaf, layer: Unrolled, tied: tuple[str, ...], beside: set[str]) -> Parameter:
    """Return the facts about a weight that a plan is made of."""
    leaf_role = role(leaf, len(layer.shape), beside)
    is_float = jnp.issubdtype(leaf.value.dtype, jnp.inexact)
    is_kept = not is_float or (leaf_role.kind == "buffer" and leaf_role.default is None)
    try:
        return Parameter(
            layer.name,
            layer.shape,
            leaf.value.dtype.name,
            leaf_role.axes,
            leaf_role.kind,
            None if leaf.owner is None else type(leaf.owner).__name__,
            keep if is_kept else leaf_role.default,
            tied,
            constructor=None if is_kept else constructor_value(leaf, layer, leaf_role),
        )
    except ValueError as error:
        place = ".".join(leaf.names[0].split(".")[:-1])
        stack = {place: f"{place}.{{i}}"} if place else {"*": "{i}.*"}
        raise ValueError(f"{error}. If the array is a stack of layers, pass stack={stack}") from None

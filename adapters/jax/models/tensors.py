"""Trees: the arrays of a pytree by name, and the pytree made of other arrays again."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey

UNNAMED = "shapes must be a pytree whose leaves have names, such as {{'kernel': ...}}, got a bare {kind}"


@dataclass(eq=False)
class Leaf:
    """An array of the tree, or the shape of one: its names, its value and the box that holds it."""

    names: list[str]
    places: list[int]  # among all leaves of the tree
    components: tuple[str, ...]  # of the first of its names
    value: Any
    box: Any  # a variable of Flax with what is said of it; the value itself where there is none
    owner: Any  # the module that has it as an attribute, where one has
    around: Any  # and what has that
    is_state: bool = False  # whether it is in a collection of linen's other than params, or no Param of nnx

    @property
    def kind(self) -> str:
        """The class name of its box."""
        return type(self.box).__name__

    @property
    def is_key(self) -> bool:
        """Whether it is a random key."""
        return bool(jax.numpy.issubdtype(self.value.dtype, jax.dtypes.prng_key))

    @property
    def has_values(self) -> bool:
        """Whether it is an array, traced or not."""
        return isinstance(self.value, (jax.Array, np.ndarray))


def leaves(tree: Any) -> tuple[list[Leaf], list[Any], Any]:
    """The arrays, each variable of Flax once; all leaves of the tree, which has others too; and its structure."""
    flat, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=_is_box)
    found: dict[int, Leaf] = {}
    collections = isinstance(tree, Mapping) and "params" in tree
    for place, (path, box) in enumerate(flat):
        value = jax.tree.leaves(box)[0] if _is_box(box) else box
        if not (hasattr(value, "shape") and hasattr(value, "dtype")):
            continue  # a number, a function: what a module holds beside its parameters
        components = tuple(map(_component, path))
        if not components:
            raise TypeError(UNNAMED.format(kind=type(value).__name__))
        name = ".".join(components)
        if _is_box(box) and id(box) in found:  # tied
            found[id(box)].names.append(name)
            found[id(box)].places.append(place)
            continue
        owner = _at(tree, path[:-1]) if isinstance(path[-1], GetAttrKey) else None
        around = _at(tree, path[:-2])
        state = (collections and components[0] != "params") or _is_state(box)
        leaf = Leaf([name], [place], components, value, box, owner, around, state)
        found[id(box) if _is_box(box) else -1 - place] = leaf
    return list(found.values()), [box for _, box in flat], structure


def rebuilt(every: list[Any], structure: Any, found: list[Leaf], values: list[Any]) -> Any:
    """The tree with other values in its arrays' places."""
    new = list(every)
    for leaf, value in zip(found, values, strict=True):
        box = jax.tree.unflatten(jax.tree.structure(leaf.box), [value]) if _is_box(leaf.box) else value
        for place in leaf.places:
            new[place] = box
    return jax.tree.unflatten(structure, new)


def named(tree: Any, is_leaf: Any) -> dict[str, Any]:
    """Any pytree's leaves by name, boxes undone."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: is_leaf(node) or _is_box(node))
    return {
        ".".join(map(_component, path)): jax.tree.leaves(box, is_leaf=is_leaf)[0] if _is_box(box) else box
        for path, box in flat
    }


def children(found: list[Leaf]) -> dict[tuple[str, ...], set[str]]:
    """The names right under each place of the tree."""
    below: dict[tuple[str, ...], set[str]] = {}
    for leaf in found:
        for depth, component in enumerate(leaf.components):
            below.setdefault(leaf.components[:depth], set()).add(component)
    return below


def _is_box(node: Any) -> bool:
    if "flax" not in sys.modules:
        return False
    from .flax import BOXES

    return isinstance(node, BOXES) and len(jax.tree.leaves(node)) == 1


def _is_state(node: Any) -> bool:
    if "flax" not in sys.modules:
        return False
    from .flax import is_state

    return is_state(node)


def _component(key: Any) -> str:
    if isinstance(key, GetAttrKey):
        return str(key.name)
    if isinstance(key, SequenceKey):
        return str(key.idx)
    if isinstance(key, (DictKey, FlattenedIndexKey)):
        return str(key.key)
    return str(key)


def _at(node: Any, path: Any) -> Any:
    """The node at the end of a path; None where its keys do not lead there."""
    for key in path:
        if isinstance(key, GetAttrKey):
            node = getattr(node, key.name, None)
        elif isinstance(key, (DictKey, SequenceKey)):
            try:
                node = node[key.key if isinstance(key, DictKey) else key.idx]
            except (LookupError, TypeError):
                return None
        else:
            return None
    return node

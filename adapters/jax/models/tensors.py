"""Arrays of a pytree by name, and the pytree with other arrays in their places."""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import jax
import numpy as np
from jax.tree_util import GetAttrKey, SequenceKey, keystr

NO_TREE = (
    "shapes must be a pytree of arrays or of their shapes, got one {kind}. For a linen module, pass "
    "jax.eval_shape(module.init, key, inputs)"
)
SIZES = "shapes must be a pytree of arrays or of their shapes, got {sizes} for {name}. Pass {correct}"
UNNAMED = "shapes must be a pytree whose leaves have names, such as {{'kernel': ...}}, got a bare {kind}"
CYCLIC = "params must be a tree, got a module of flax.nnx that contains itself; call nnx.split"
TRACED = (
    "shapes must be a module of flax.nnx made in this trace, got a module made outside of the trace. Initialize the "
    "module outside of jit, or pass nnx.state(module)."
)
PARAMS = "params"  # linen's collection of parameters, which is no part of a name

Tree = Any  # a pytree: JAX has no type for one
Path = tuple[Any, ...]  # the keys on the way to a leaf
IsLeaf = Callable[[Any], bool]


@dataclass(eq=False)
class Leaf:
    """An array of the tree, or the shape of one, with its names and the objects around it."""

    names: list[str]
    paths: list[Path]
    components: tuple[str, ...]  # of the first path
    value: Any  # an array, traced or not, or anything with a shape and a dtype
    box: Any  # a variable of Flax, which holds the value and metadata; the value itself where there is none
    holder: Any  # the object that holds the value as an attribute or item
    owner: Any  # the holder, if it holds the value as an attribute
    around: Any  # the object that holds the owner
    module: Any  # the module of flax.nnx around the value, if any
    is_state: bool = False  # in a collection of linen's other than params, or of nnx and no Param

    @property
    def kind(self) -> str:
        """Return the class name of its box."""
        return type(self.box).__name__

    @property
    def is_key(self) -> bool:
        """Return whether the value is a random key."""
        return bool(jax.numpy.issubdtype(self.value.dtype, jax.dtypes.prng_key))

    @property
    def has_values(self) -> bool:
        """Return whether the value is an array, traced or not."""
        return isinstance(self.value, (jax.Array, np.ndarray))

    def set(self, value: Any) -> None:
        """Put another value into the module of flax.nnx."""
        key = self.paths[0][-1]
        if self.box is not self.value:
            self.box.set_value(value)
        elif isinstance(key, GetAttrKey):
            setattr(self.holder, key.name, value)
        else:
            self.holder[key.idx if isinstance(key, SequenceKey) else key.key] = value


def leaves(tree: Tree) -> list[Leaf]:
    """Return the arrays of a tree, each variable of Flax once, with all its names."""
    by_box: dict[int, Leaf] = {}
    prefix = _prefix(tree)
    collections = isinstance(tree, Mapping) and PARAMS in tree
    for number, (path, box, around) in enumerate(_walk(tree, (), ())):
        value = jax.tree.leaves(box)[0] if is_box(box) else box
        if not (hasattr(value, "shape") and hasattr(value, "dtype")):
            if not path:
                raise TypeError(NO_TREE.format(kind=type(value).__name__))
            _check_no_sizes(path, around)
            continue  # modules also hold numbers and functions
        if not path:
            raise TypeError(UNNAMED.format(kind=type(value).__name__))
        components = tuple(map(_component, path))
        name = ".".join(components[1:] if components[0] == prefix and len(components) > 1 else components)
        if is_box(box) and id(box) in by_box:  # tied
            by_box[id(box)].names.append(name)
            by_box[id(box)].paths.append(path)
            continue
        module = next(filter(is_module, around), None)
        state = collections and components[0] != PARAMS
        if module is not None or is_box(box):
            from .flax import is_state

            state = state or is_state(box, module)
        owner = around[-1] if isinstance(path[-1], GetAttrKey) else None
        holders = (None, *around)
        leaf = Leaf([name], [path], components, value, box, holders[-1], owner, holders[-2], module, state)
        by_box[id(box) if is_box(box) else -1 - number] = leaf
    return list(by_box.values())


def _check_no_sizes(path: Path, around: tuple[Any, ...]) -> None:
    """Raise TypeError if a number that is no array lies in a tuple of ints in a mapping: the sizes of a shape."""
    sizes = around[-1]
    is_shape = isinstance(sizes, (tuple, list)) and all(type(size) is int for size in sizes)
    if is_shape and len(around) > 1 and all(isinstance(node, Mapping) for node in around[:-1]):
        correct = f"jax.ShapeDtypeStruct({tuple(sizes)}, 'float32')"
        raise TypeError(SIZES.format(sizes=sizes, name=".".join(map(_component, path[:-1])), correct=correct))


def is_module(node: Any) -> bool:
    """Return whether a node of a tree is a module of flax.nnx, or another object that nnx changes in place."""
    if "flax" not in sys.modules:
        return False
    from flax import nnx

    return isinstance(node, nnx.Pytree)


def replaced(tree: Tree, values: Mapping[Leaf, Any], *, in_place: bool = False) -> Tree:
    """Return the tree with other values of its arrays; `in_place` changes modules of flax.nnx, and returns the same."""
    if in_place:
        for leaf, value in values.items():
            if leaf.module is not None and value is not leaf.value:
                leaf.set(value)
    is_leaf: IsLeaf = (lambda node: is_box(node) or is_module(node)) if in_place else is_box
    try:
        flat, structure = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_leaf)
    except RecursionError:
        raise TypeError(CYCLIC) from None
    new = {path: _boxed(leaf.box, value) for leaf, value in values.items() for path in leaf.paths}
    return jax.tree.unflatten(structure, [new.get(path, box) for path, box in flat])


def check_trace(tree_leaves: list[Leaf]) -> None:
    """Raise ValueError where a module of flax.nnx cannot be changed, as it was made outside of this trace."""
    from flax import nnx
    from flax.errors import TraceContextError

    for leaf in tree_leaves:
        if leaf.module is not None and isinstance(leaf.box, nnx.Variable):
            try:
                leaf.box.set_raw_value(leaf.box.get_raw_value())
            except TraceContextError:
                raise ValueError(TRACED) from None


def named(tree: Tree, is_leaf: IsLeaf) -> dict[str, Any]:
    """Return the leaves of any pytree by name, without their boxes."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: is_leaf(node) or is_box(node))
    return {
        ".".join(map(_component, path)): jax.tree.leaves(box, is_leaf=is_leaf)[0] if is_box(box) else box
        for path, box in flat
    }


def children(tree_leaves: list[Leaf]) -> dict[tuple[str, ...], set[str]]:
    """Return the names right under each place above an array."""
    below: dict[tuple[str, ...], set[str]] = {}
    for leaf in tree_leaves:
        for depth, component in enumerate(leaf.components):
            below.setdefault(leaf.components[:depth], set()).add(component)
    return below


def _walk(node: Any, path: Path, around: tuple[Any, ...]) -> Iterator[tuple[Path, Any, tuple[Any, ...]]]:
    """Yield each leaf with its path and the objects around it, from the root on; an object never inside itself."""
    if is_box(node):
        yield path, node, around
        return
    if any(node is each for each in around):
        return
    children = _children(node)
    if children is None:
        yield path, node, around
        return
    for key, child in children:
        yield from _walk(child, (*path, key), (*around, node))


def _children(node: Any) -> list[tuple[Any, Any]] | None:
    """Return the keys and objects right inside a node; None of a leaf."""
    asked = count()  # JAX calls the function with the node first, then with each child, which may be the node again
    flat, structure = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda _: next(asked) > 0)
    if not jax.tree_util.treedef_is_leaf(structure):
        return [(key, child) for (key,), child in flat]
    if is_module(node):  # made with pytree=False
        return [(GetAttrKey(name), child) for name, child in sorted(vars(node).items()) if "__" not in name]
    return None


def _prefix(tree: Tree) -> str | None:
    """Return the first component that is no part of a name: `params` in linen's variables and in a TrainState."""
    holds_parameters = isinstance(tree, Mapping) or (hasattr(tree, PARAMS) and hasattr(tree, "opt_state"))
    return PARAMS if holds_parameters else None


def _boxed(box: Any, value: Any) -> Any:
    return jax.tree.unflatten(jax.tree.structure(box), [value]) if is_box(box) else value


def is_box(node: Any) -> bool:
    """Return whether a node is an object of Flax that holds one array and metadata."""
    if "flax" not in sys.modules:
        return False
    from .flax import BOXES

    return isinstance(node, BOXES) and len(jax.tree.leaves(node)) == 1


def _component(key: Any) -> str:
    return keystr((key,), simple=True)

"""Shardings of the arrays of a tree, from `shardings=` or from the arrays."""

from collections.abc import Callable
from typing import Any, TypeGuard

import jax
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec, Sharding

from initlib import Parameter

from ..drawing.draw import Placement
from .tensors import Leaf, Tree, named

Shardings = Placement | Callable[[Parameter], Placement] | Tree


def placements(
    found: list[Leaf], parameters: list[Parameter], shardings: Shardings, tracing: bool
) -> tuple[list[Sharding | None], list[str]]:
    """Return a sharding for each array, or None, and the problems of them."""
    problems: list[str] = []
    if shardings is None:
        requested = [_own(leaf.value) for leaf in found]
    elif callable(shardings) and not _is_placement(shardings):
        requested = [shardings(parameter) for parameter in parameters]
    else:
        requested, problems = _by_name(found, shardings)
    placed: list[Sharding | None] = []
    for parameter, each in zip(parameters, requested, strict=True):
        try:
            placed.append(_resolved(each, parameter.shape, tracing))
        except ValueError as error:
            problems.append(f"{parameter.name}: {error}")
    return placed, problems


def _is_placement(node: object) -> TypeGuard[Placement]:
    return node is None or isinstance(node, (Sharding, PartitionSpec))


def _own(value: Any) -> Any:
    """Return the sharding that an array has, or that a shape states."""
    if isinstance(value, jax.core.Tracer) or (isinstance(value, jax.Array) and not value.committed):
        return None
    sharding = getattr(value, "sharding", None)
    if isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, AbstractMesh):
        return sharding.spec
    return sharding


def _by_name(found: list[Leaf], shardings: Tree) -> tuple[list[Any], list[str]]:
    """Return the value that a pytree has for each array, at its place or above it, and the problems."""
    places = named(shardings, _is_placement)
    unused = dict.fromkeys(places)
    requested: list[Any] = []
    problems = []
    for leaf in found:
        above = [".".join(leaf.components[:depth]) for depth in range(len(leaf.components), -1, -1)]
        place = next((name for name in above if name in places), None)
        if place is None:
            problems.append(f"{leaf.names[0]}: shardings has no value for this array")
            requested.append(None)
            continue
        unused.pop(place, None)
        requested.append(places[place])
    problems += [f"{place}: shardings names this place, which is not in the tree" for place in unused]
    return requested, problems


def _resolved(sharding: object, shape: tuple[int, ...], tracing: bool) -> Sharding | None:
    """Return the sharding; a PartitionSpec is one on the mesh that is set, and None is replicated on that mesh.

    Raises ValueError if there is no mesh, or the sharding does not divide the shape.
    """
    if not _is_placement(sharding):
        raise TypeError(f"shardings must be made of jax shardings, PartitionSpecs and None, got {sharding!r}")
    mesh = jax.sharding.get_abstract_mesh()
    if sharding is None and not mesh.empty and not tracing:
        sharding = PartitionSpec()
    if isinstance(sharding, PartitionSpec):
        if mesh.empty:
            raise ValueError(f"shardings must have a mesh, got {sharding}. Enter jax.set_mesh, or pass a NamedSharding")
        sharding = NamedSharding(mesh if tracing else jax.sharding.get_mesh(), sharding)
    if isinstance(sharding, NamedSharding) and len(sharding.spec) > len(shape):
        raise ValueError(f"sharding must name at most {len(shape)} axes for shape {shape}, got {sharding.spec}")
    if sharding is not None:
        sharding.shard_shape(shape)
    return sharding

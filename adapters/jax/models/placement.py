"""Placement: where each array of a tree is to lie, as `shardings=` or the array itself says."""

from typing import Any

import jax
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec, Sharding

from initlib import Parameter

from .tensors import Leaf, named


def placements(
    found: list[Leaf], parameters: list[Parameter], given: Any, tracing: bool
) -> tuple[list[Any], list[str]]:
    """A sharding for each array, or None, and what is wrong with them."""
    problems: list[str] = []
    if given is None:
        said = [_own(leaf.value) for leaf in found]
    elif callable(given) and not _is_placement(given):
        said = [given(parameter) for parameter in parameters]
    else:
        said, problems = _by_name(found, given)
    placed = []
    for parameter, each in zip(parameters, said, strict=True):
        try:
            sharding = _resolved(each, tracing)
            _check(sharding, parameter.shape)
            placed.append(sharding)
        except ValueError as error:
            problems.append(f"{parameter.name}: {error}")
    return placed, problems


def _check(sharding: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError where it does not divide the shape."""
    named = len(sharding.spec) if isinstance(sharding, NamedSharding) else 0
    if named > len(shape):
        raise ValueError(f"sharding {sharding.spec} names {named} axes, shape {shape} has {len(shape)}")
    if sharding is not None:
        sharding.shard_shape(shape)


def _is_placement(node: Any) -> bool:
    return node is None or isinstance(node, (Sharding, PartitionSpec))


def _own(value: Any) -> Any:
    """Where it lies, or a shape says that it will."""
    if isinstance(value, jax.core.Tracer) or (isinstance(value, jax.Array) and not value.committed):
        return None
    sharding = getattr(value, "sharding", None)
    if isinstance(sharding, NamedSharding) and isinstance(sharding.mesh, AbstractMesh):
        return sharding.spec
    return sharding


def _by_name(found: list[Leaf], given: Any) -> tuple[list[Any], list[str]]:
    """What a pytree says of each array, at its place or at one above it; and the places of no use."""
    places = named(given, _is_placement)
    unused = dict.fromkeys(places)
    said: list[Any] = []
    problems = []
    for leaf in found:
        above = [".".join(leaf.components[:depth]) for depth in range(len(leaf.components), -1, -1)]
        place = next((name for name in above if name in places), None)
        if place is None:
            problems.append(f"{leaf.names[0]}: shardings says nothing of it")
            said.append(None)
            continue
        unused.pop(place, None)
        said.append(places[place])
    problems += [f"{place}: shardings has a place that is not in the tree" for place in unused]
    return said, problems


def _resolved(sharding: Any, tracing: bool) -> Any:
    """The sharding, a PartitionSpec on the mesh that is set; none is all on every device of that mesh, if one is."""
    if not _is_placement(sharding):
        raise TypeError(f"shardings must be made of jax shardings, PartitionSpecs and None, got {sharding!r}")
    mesh = jax.sharding.get_abstract_mesh()
    if sharding is None and not mesh.empty and not tracing:
        sharding = PartitionSpec()  # type: ignore[no-untyped-call]
    if not isinstance(sharding, PartitionSpec):
        return sharding
    if mesh.empty:
        raise ValueError(f"shardings has {sharding}, which needs a mesh: enter jax.set_mesh, or give a NamedSharding")
    return NamedSharding(mesh if tracing else jax.sharding.get_mesh(), sharding)

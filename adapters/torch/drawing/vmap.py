"""Members of `torch.vmap`, each with a stream of its own where they draw different weights."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from initlib.key import Key

from .._private import in_transform, unbatched, vmaps


def members_differ() -> bool:
    """Return whether a vmap with randomness='different' is running."""
    if not in_transform():
        return False
    randomness = [randomness for _, randomness in vmaps()]
    return "different" in randomness and "error" not in randomness


def members(tensor: Tensor, key: Key) -> Iterator[tuple[Tensor, Key]]:
    """Yield the members of a tensor, and the key of each: its index folded in where the randomness is different."""
    return _members(tensor, key, vmaps())


def _members(tensor: Tensor, key: Key, transforms: Sequence[tuple[int, str]]) -> Iterator[tuple[Tensor, Key]]:
    if not transforms:
        yield tensor, key
        return
    (level, randomness), *outer = transforms
    value, axis = unbatched(tensor, level)
    if axis is None and randomness == "different":
        raise RuntimeError(
            "tensor must have values for each member of a vmap with randomness='different', got one tensor for all "
            "members. Fill torch.empty_like of a batched argument."
        )
    if axis is None:
        yield from _members(tensor, key, outer)
        return
    for index in range(value.shape[axis]):
        own = key.fold_in(index) if randomness == "different" else key
        yield from _members(value.select(axis, index), own, outer)

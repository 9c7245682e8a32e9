"""Names of tensors in PyTorch's state dictionaries, with wrappers and stored parts, as the names of plans."""

import re
from collections.abc import Iterable

from torch import nn

from initlib.adapters.common.selection import Only

from .tensors import ModelTensor, Modules


def plan_names(module: nn.Module, modules: Modules, tensors: list[ModelTensor], only: Only) -> Only:
    """Return names of plans for names that may be those of a state dictionary; others and patterns stay as they are.

    Raise ValueError where only some of the tensors that store a weight are among the names.
    """
    if isinstance(only, (str, re.Pattern)) or not isinstance(only, Iterable):
        return only
    names = list(only)
    planned = {name for tensor in tensors for name in tensor.names}
    paths: dict[int, list[str]] = {}
    aliases: dict[str, str] = {}
    for (path, part), (prefix, _) in zip(module.named_modules(remove_duplicate=False), modules, strict=True):
        before = f"{path}." if path else ""
        paths.setdefault(id(part), []).append(before)
        for name, _ in part.named_buffers(recurse=False):
            aliases[before + name] = prefix + name
    for tensor in tensors:
        if tensor.magnitude is not None:
            aliases |= _of_weight_norm(tensor, tensor.magnitude.place[1], paths, set(names) - planned)
        for name, (holder, attribute) in zip(tensor.names, tensor.places, strict=True):
            aliases |= {before + attribute: name for before in paths[id(holder)]}
    return [each if each in planned else aliases.get(each, each) for each in names]


def _of_weight_norm(
    tensor: ModelTensor, magnitude: str, paths: dict[int, list[str]], unplanned: set[str]
) -> dict[str, str]:
    """Return the aliases of the magnitudes of a weight-normed weight, by the attribute that holds them."""
    aliases = {}
    for (module, attribute), name in zip(tensor.places, tensor.names, strict=True):
        for before in paths[id(module)]:
            stored = {before + attribute, before + magnitude}
            if len(stored & unplanned) == 1:
                (one,), (other,) = stored & unplanned, stored - unplanned
                raise ValueError(
                    f"only must have {one!r} and {other!r} together, which store {name}, got {one!r} alone. "
                    f"Pass both, or neither"
                )
            aliases[before + magnitude] = name
    return aliases

"""Like: a plan of the tensors that a checkpoint on disk has."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .._arguments import choice
from ..dtypes import DTYPES, dtype_name
from ..files.folder import checkpoint_files
from ..files.header import Header
from ..plans.parameter import KINDS, Parameter
from ..plans.plan import Plan
from ..plans.planning import plan
from ..plans.rules.patterns import Ordered
from ..plans.rules.values import keep


def like(
    path: str | os.PathLike[str],
    rules: Any = None,
    *,
    default: Any = None,
    rename: Any = None,
    axes: Mapping[Any, str] | None = None,
    kinds: Mapping[Any, str] | None = None,
    dtype: Any = None,
) -> Plan:
    """Make the plan of a checkpoint's tensors: their names, shapes and dtypes, which its headers say.

    >>> import tempfile
    >>> from initlib import Parameter, normal, ones, plan
    >>> folder = tempfile.mkdtemp()
    >>> made = plan([Parameter("norm.weight", (8,)), Parameter("up.weight", (32, 8))], {"norm.*": ones, "*": normal()})
    >>> _ = made.write(folder, seed=0)
    >>> like(folder, {"norm.*": ones, "*": normal()}) == made
    True

    The path is a safetensors file, an index, or a folder with one of them under its usual name; the weights are not
    read. `rules`, `default`, `rename` and `axes` are those of `plan`. `kinds` says of what kind parameters are, by
    pattern, which no file does: recipes ask for it. `dtype` is what all tensors of floats become; those of other
    dtypes are kept. Raises what `plan` does, OSError, and ValueError for a file that is malformed.
    """
    return plan(_of_kinds(parameters(path, dtype), kinds), rules, default=default, rename=rename, axes=axes)


def parameters(path: str | os.PathLike[str], dtype: Any = None) -> list[Parameter]:
    """The tensors that a checkpoint's headers name, in the order of its files."""
    wanted = None if dtype is None else dtype_name(dtype)
    found = []
    for file in checkpoint_files(path):
        for name, stored in Header.read(file).tensors.items():
            has = stored.dtype_name or stored.dtype.lower()
            if has in DTYPES or has.startswith("f"):  # float8 and narrower too
                found.append(Parameter(name, stored.shape, wanted or has))
            else:
                found.append(Parameter(name, stored.shape, has, default=keep))
    return found


def _of_kinds(found: list[Parameter], kinds: Any) -> list[Parameter]:
    """The parameters, each of the kind that the first pattern which matches it says."""
    said = Ordered(kinds, "kinds", lambda kind, argument: choice(kind, argument, KINDS))
    known = [replace(parameter, kind=said.first(parameter) or parameter.kind) for parameter in found]
    for pattern, _ in said.unused():
        raise ValueError(f"kinds {pattern.text!r} is the first pattern to match no tensor")
    return known

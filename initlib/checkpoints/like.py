"""A plan of the tensors of a checkpoint on disk."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .._arguments import choice
from ..dtypes import DTYPES, dtype_name
from ..files.folder import checkpoint_files
from ..files.header import Header
from ..plans.fills.values import keep
from ..plans.parameter import KINDS, Parameter
from ..plans.plan import Plan
from ..plans.planning import plan
from ..plans.rules.patterns import Ordered


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
    """Make the plan of a checkpoint's tensors from the names, shapes and dtypes in its headers.

    The function reads no weights.

    Args:
        path: a safetensors file, an index, or a folder with one of them under its usual name.
        rules: as for `plan`.
        default: as for `plan`.
        rename: as for `plan`.
        axes: as for `plan`.
        kinds: the kinds of parameters, by pattern. Recipes need the kinds, and no file holds them.
        dtype: the dtype of all floating-point tensors; by default the dtype in the file. Other tensors are kept.

    Returns:
        The plan.

    Raises:
        PlanError: as for `plan`.
        OSError: a file cannot be read.
        ValueError: a file is broken, or a pattern of `kinds` matches no tensor.

    Example:
        >>> import tempfile
        >>> from initlib import Parameter, normal, ones, plan
        >>> folder, rules = tempfile.mkdtemp(), {"norm.*": ones, "*": normal()}
        >>> made = plan([Parameter("norm.weight", (8,)), Parameter("up.weight", (32, 8))], rules)
        >>> _ = made.write(folder, seed=0)
        >>> like(folder, rules) == made
        True
    """
    return plan(_with_kinds(parameters(path, dtype), kinds), rules, default=default, rename=rename, axes=axes)


def parameters(path: str | os.PathLike[str], dtype: Any = None) -> list[Parameter]:
    """Return the tensors in a checkpoint's headers, in the order of its files."""
    wanted = None if dtype is None else dtype_name(dtype)
    tensors = []
    for file in checkpoint_files(path):
        for name, stored in Header.read(file).tensors.items():
            if stored.dtype_name in DTYPES or stored.dtype.startswith("F"):  # float8 and narrower too
                tensors.append(Parameter(name, stored.shape, wanted or stored.dtype_name))
            else:
                tensors.append(Parameter(name, stored.shape, stored.dtype_name, default=keep))
    return tensors


def _with_kinds(tensors: list[Parameter], kinds: Any) -> list[Parameter]:
    """Return the parameters, each with the kind of the first pattern that matches it."""
    by_pattern = Ordered(kinds, "kinds", lambda kind, argument: choice(kind, argument, KINDS))
    parameters = [replace(parameter, kind=by_pattern.first(parameter) or parameter.kind) for parameter in tensors]
    for unused in by_pattern.unused():
        raise ValueError(
            "kinds must have only patterns that are the first to match a tensor, got "
            f"{unused.pattern.text!r}. Put narrow patterns before wide patterns"
        )
    return parameters

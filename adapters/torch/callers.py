"""Callers: what the function that is running is about, told by its variables."""

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from torch import nn

__all__ = ["subject"]


def subject(tensors: Mapping[int, str], modules: Mapping[int, str]) -> str | None:
    """The name of the parameter or of the module that the innermost calling function is about.

    That is the one parameter among its variables, else the most deeply nested module. `tensors` and `modules` are the
    names, by identity. A function that has only the whole model among its variables is about it if it is its method.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = _about(frame, tensors, modules)
        if name is not None:
            return name
        frame = frame.f_back
    return None


def _about(frame: FrameType, tensors: Mapping[int, str], modules: Mapping[int, str]) -> str | None:
    variables = frame.f_locals
    names = {tensors[id(value)] for value in variables.values() if id(value) in tensors}
    if len(names) == 1:
        return names.pop()
    parts = [value for value in variables.values() if isinstance(value, nn.Module) and id(value) in modules]
    if not parts:
        return None
    deepest = max((modules[id(part)] for part in parts), key=len)
    whole = min(modules.values(), key=len)
    return deepest if deepest != whole or _is_method_of(parts[0], frame, variables) else None


def _is_method_of(part: Any, frame: FrameType, variables: Mapping[str, Any]) -> bool:
    """Whether the function's first argument is that module."""
    code = frame.f_code
    return code.co_argcount > 0 and variables.get(code.co_varnames[0]) is part

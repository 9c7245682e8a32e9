"""Callers: what the function that is running is about, and what it means to draw, told by its variables."""

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from torch import Tensor, nn

from initlib import Initializer, truncated_normal, zeros

from .._private import no_grad_trunc_normal_


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


def rejected(frame: FrameType, tensor: Tensor) -> Initializer | None:
    """What PyTorch's `trunc_normal_` means where it is the caller, and draws a tensor to reject a part of it.

    That is the window's own law, of which it then rejects nothing. Of a far window it draws uniformly, and rejects
    what comes out greater, in logarithms, than the density there: nothing, if that draw is of zeros.
    """
    while frame.f_back is not None and frame.f_code.co_name == "__torch_function__":  # modes within ours
        frame = frame.f_back
    if frame.f_code is not no_grad_trunc_normal_.__code__:
        return None
    said = frame.f_locals
    if tensor is said.get("tensor"):
        return truncated_normal(said["mean"], said["std"], said["a"], said["b"])
    return zeros if tensor is said.get("accept_buf") else None

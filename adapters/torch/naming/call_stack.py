"""Call stack: the parameter or module that the running code initializes, read from the variables of its callers.

A draw into a temporary tensor (`steps = torch.rand(50)`, later copied to a parameter) does not name a parameter, and
neither PyTorch nor the tensor records its destination. The order of such draws depends on the order of modules. Only
the variables of the calling functions show for which parameter or module they draw, so this file reads them.
"""

import sys
from collections.abc import Mapping
from types import FrameType
from typing import Any

from torch import Tensor, nn

from initlib import Initializer, truncated_normal, zeros

from .._private import no_grad_trunc_normal_


def subject(tensors: Mapping[int, str], modules: Mapping[int, str]) -> str | None:
    """Return the name of the parameter or module that the innermost calling function initializes.

    It is the one parameter among the function's variables, else the most deeply nested module. `tensors` and `modules`
    are the names by identity, the model first. The model itself counts only in its own methods.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = _subject_of(frame, tensors, modules)
        if name is not None:
            return name
        frame = frame.f_back
    return None


def _subject_of(frame: FrameType, tensors: Mapping[int, str], modules: Mapping[int, str]) -> str | None:
    variables = frame.f_locals
    names = {tensors[id(value)] for value in variables.values() if id(value) in tensors}
    if len(names) == 1:
        return names.pop()
    parts = [value for value in variables.values() if isinstance(value, nn.Module) and id(value) in modules]
    if not parts:
        return None
    deepest = max((modules[id(part)] for part in parts), key=_depth)
    model = next(iter(modules.values()))
    return deepest if deepest != model or _is_method_of(parts[0], frame, variables) else None


def _depth(name: str) -> int:
    """Return the number of modules that a name passes through; the empty name of the model itself has none."""
    return name.count(".") + 1 if name else 0


def _is_method_of(part: Any, frame: FrameType, variables: Mapping[str, Any]) -> bool:
    """Return whether the function's first argument is that module."""
    code = frame.f_code
    return code.co_argcount > 0 and variables.get(code.co_varnames[0]) is part


def rejected(tensor: Tensor) -> Initializer | None:
    """Return the initializer of a draw in PyTorch's `trunc_normal_`, which rejects values; None for other draws.

    The truncated normal replaces the draw into the result, so that `trunc_normal_` finds no value to reject. For a far
    window, `trunc_normal_` also draws a threshold for each value into `accept_buf`. Thresholds of 0 reject no value.
    """
    frame: FrameType = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_name == "__torch_function__":  # of this mode and of others
        frame = frame.f_back
    if frame.f_code is not no_grad_trunc_normal_.__code__:
        return None
    variables = frame.f_locals
    if tensor is variables.get("tensor"):
        return truncated_normal(variables["mean"], variables["std"], variables["a"], variables["b"])
    return zeros if tensor is variables.get("accept_buf") else None

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

from initlib import Initializer, zeros

from .._private import no_grad_trunc_normal_
from .parsers import truncated


def subject(tensors: Mapping[int, str], modules: Mapping[int, str]) -> str | None:
    """Return the name of the parameter or module that the innermost calling function initializes.

    It is the one parameter among the function's variables, else the most deeply nested module. `tensors` and `modules`
    are the names by identity, the model first. The model itself counts only in its own methods.
    """
    caller = sys._getframe(1)
    frame: FrameType | None = caller
    while frame is not None and frame.f_globals is caller.f_globals:  # the mode's own code holds no part of the model
        frame = frame.f_back
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


def begun(tensor: Tensor) -> Initializer | None:
    """Return the initializer of the `trunc_normal_` that has just begun to fill the tensor; None in other code.

    PyTorch gives no way to replace `trunc_normal_` itself, which makes 13 calls that a mode sees. The first call reads
    `tensor.is_meta`, and `trunc_normal_` ends if that is True. So one call can fill the tensor. A call with a
    generator, or with arguments for which PyTorch warns or raises an error, is left to PyTorch and to `rejected`.
    """
    variables = _truncating()
    if variables is None or tensor is not variables.get("tensor") or variables.get("generator") is not None:
        return None
    mean, std, low, high = _window(variables)
    if not (std > 0 and low < high and low - 2 * std <= mean <= high + 2 * std):
        return None
    return truncated(mean, std, low, high)


def rejected(tensor: Tensor) -> Initializer | None:
    """Return the initializer of a draw in PyTorch's `trunc_normal_`, which rejects values; None for other draws.

    The truncated normal replaces the draw into the result, so that `trunc_normal_` finds no value to reject. For a far
    window, `trunc_normal_` also draws a threshold for each value into `accept_buf`. Thresholds of 0 reject no value.
    """
    variables = _truncating()
    if variables is None:
        return None
    if tensor is variables.get("tensor"):
        return truncated(*_window(variables))
    return zeros if tensor is variables.get("accept_buf") else None


def _truncating() -> Mapping[str, Any] | None:
    """Return the variables of PyTorch's `trunc_normal_` if this code makes the call that a mode sees."""
    frame: FrameType = sys._getframe(2)
    while frame.f_back is not None and frame.f_code.co_name == "__torch_function__":  # of this mode and of others
        frame = frame.f_back
    return frame.f_locals if frame.f_code is no_grad_trunc_normal_.__code__ else None


def _window(variables: Mapping[str, Any]) -> tuple[Any, Any, Any, Any]:
    return variables["mean"], variables["std"], variables["a"], variables["b"]

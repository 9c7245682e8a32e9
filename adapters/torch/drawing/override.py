"""Overrides of PyTorch's functions: `overridable` lets a mode or a tensor subclass override the functions here too.

One thing in this file has no plain way: an override recognizes PyTorch's functions as keys of a table, or by module and
name. A function of Python cannot be equal to another, and a call of PyTorch's function itself would draw other bits
under a mode that only observes, such as `with torch.device(...)`. So an override receives a `Counterpart`, which is
equal to PyTorch's function.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

from torch import Tensor
from torch.compiler import is_compiling
from torch.nn import init
from torch.overrides import handle_torch_function, has_torch_function_variadic

from initlib._public import public
from initlib.adapters.common.options import show_options

from .._private import in_jit_trace
from .dispatch import DrawOptions, outside
from .transformers import is_guarded

Function = TypeVar("Function", bound=Callable[..., Tensor])


class Counterpart:
    """A function of this adapter that compares equal to the function of PyTorch that it replaces.

    It has the hash, the module and the name of PyTorch's function. A call draws as the function of this adapter.
    """

    def __init__(self, ours: Callable[..., Tensor], replaced: Callable[..., Tensor]) -> None:
        functools.update_wrapper(self, replaced)
        self.ours, self.replaced = ours, replaced

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.ours(*args, **kwargs)

    def __eq__(self, other: object) -> bool:
        return other is self or other is self.replaced

    def __hash__(self) -> int:
        return hash(self.replaced)


def overridable(function: Function) -> Function:
    """Return the public function, changed to keep loaded tensors and to call an override of PyTorch's function."""
    signature, shared = inspect.signature(function), DrawOptions.__annotations__

    @functools.wraps(function)
    def call(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if is_guarded(tensor):
            return tensor
        if has_torch_function_variadic(tensor):
            if counterpart is None or any(kwargs.get(option) is not None for option in shared):
                return handle_torch_function(call, (tensor,), tensor, *args, **kwargs)
            options = {name: value for name, value in kwargs.items() if name not in shared}
            bound = signature.bind(tensor, *args, **options)
            bound.apply_defaults()
            bound.arguments.pop("options", None)
            return handle_torch_function(counterpart, (tensor,), **bound.arguments)
        if not isinstance(tensor, Tensor):
            raise TypeError(f"tensor must be a torch.Tensor, got {type(tensor).__name__}")
        if is_compiling():
            return outside(function, tensor, *args, **kwargs)
        if in_jit_trace():
            raise RuntimeError("tensor must not be filled in torch.jit.trace. Fill the tensor before the trace")
        return function(tensor, *args, **kwargs)

    replaced = getattr(init, function.__name__, None)
    counterpart = None if replaced is None else Counterpart(call, replaced)
    show_options(call, DrawOptions)
    return cast(Function, public("initlib.adapters.torch")(call))

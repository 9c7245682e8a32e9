"""Guards of transformers: its initialization must not draw over weights that it loaded from a checkpoint."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

from torch import Tensor
from torch.nn import init

from .memory import check_reach

Function = TypeVar("Function", bound=Callable[..., Tensor])

FLAG = "_is_hf_initialized"  # set on modules by their own initialization, and on tensors by loading a checkpoint


def is_guarded(tensor: Tensor) -> bool:
    """Return whether transformers has loaded the tensor and is initializing the rest of the model.

    While it does that, it replaces PyTorch's functions by functions that leave loaded tensors unchanged. The flags
    outlive it, and then mean nothing: PyTorch's functions fill such a tensor, and so do the functions here.
    """
    return getattr(tensor, FLAG, False) is True and init.normal_.__module__ == "transformers.initialization"


def unless_loaded(function: Function) -> Function:
    """Return PyTorch's function, changed to keep loaded tensors and to refuse copies that nothing refers to."""

    @functools.wraps(function)
    def call(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if is_guarded(tensor):
            return tensor
        check_reach(tensor)
        return function(tensor, *args, **kwargs)

    return cast(Function, call)

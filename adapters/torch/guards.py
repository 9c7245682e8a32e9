"""Guards: how transformers knows what it has initialized or loaded, and must not draw over."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

__all__ = ["lifted", "mark"]

# An attribute of modules, which their own initialization sets, and of tensors, which loading a checkpoint sets.
FLAG = "_is_hf_initialized"


def mark(module: nn.Module, tensors: Iterable[Tensor]) -> None:
    """Tell a model of transformers that these tensors have their weights; other models are left alone."""
    if any(FLAG in vars(part) for part in module.modules()):
        for tensor in tensors:
            setattr(tensor, FLAG, True)


@contextmanager
def lifted(module: nn.Module) -> Iterator[None]:
    """Let the modules initialize themselves again; the tensors that were loaded stay guarded."""
    parts = [part for part in module.modules() if vars(part).pop(FLAG, False)]
    try:
        yield
    finally:
        for part in parts:
            setattr(part, FLAG, True)

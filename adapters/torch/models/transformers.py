"""The flags of transformers on tensors and modules that it has initialized or loaded, and must not draw again."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from .layers import own_class
from .tensors import Modules

# An attribute of modules, which their own initialization sets, and of tensors, which loading a checkpoint sets.
FLAG = "_is_hf_initialized"
CUSTOM = "is_custom_code"  # the method that returns whether a model's class is from outside of transformers


def mark(modules: Modules, tensors: Iterable[Tensor]) -> None:
    """Flag the tensors as initialized in a model of transformers; leave other models unchanged."""
    if any(FLAG in vars(part) for _, part in modules):
        for tensor in tensors:
            setattr(tensor, FLAG, True)


@contextmanager
def lifted(module: nn.Module) -> Iterator[None]:
    """Let the modules initialize themselves again; the tensors that were loaded stay guarded.

    FSDP2 derives a class of its own for a model, which transformers takes for custom code: it then leaves out modules
    without weights of their own, such as those that scale the weights of their parts.
    """
    parts = [part for part in module.modules() if vars(part).pop(FLAG, False)]
    strange = [part for part in module.modules() if type(part) is not own_class(part) and hasattr(part, CUSTOM)]
    for part in strange:
        vars(part)[CUSTOM] = getattr(own_class(part), CUSTOM)
    try:
        yield
    finally:
        for part in strange:
            del vars(part)[CUSTOM]
        for part in parts:
            setattr(part, FLAG, True)

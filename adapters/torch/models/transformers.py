"""Guards: how transformers knows what it has initialized or loaded, and must not draw over."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from .layers import own_class

# An attribute of modules, which their own initialization sets, and of tensors, which loading a checkpoint sets.
FLAG = "_is_hf_initialized"
CUSTOM = "is_custom_code"  # the method by which a model says that its class is not of transformers


def mark(module: nn.Module, tensors: Iterable[Tensor]) -> None:
    """Tell a model of transformers that these tensors have their weights; other models are left alone."""
    if any(FLAG in vars(part) for part in module.modules()):
        for tensor in tensors:
            setattr(tensor, FLAG, True)


@contextmanager
def lifted(module: nn.Module) -> Iterator[None]:
    """Let the modules initialize themselves again; the tensors that were loaded stay guarded.

    FSDP2 gives a model a class of its own, which transformers takes for a stranger's: it then leaves modules out that
    have no weights themselves, such as those that scale the weights of their parts.
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

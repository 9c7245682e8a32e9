"""Flags of transformers on tensors and modules that it has initialized or loaded, and must not draw again."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor

from ..drawing.transformers import FLAG
from .layers import own_class
from .tensors import Modules

CUSTOM = "is_custom_code"  # the method that returns whether a model's class is from outside of transformers


def mark(modules: Modules, tensors: Iterable[Tensor]) -> None:
    """Flag the tensors as initialized in a model of transformers; leave other models unchanged."""
    if any(FLAG in vars(part) for _, part in modules):
        for tensor in tensors:
            setattr(tensor, FLAG, True)


@contextmanager
def lifted(modules: Modules) -> Iterator[None]:
    """Let the modules initialize themselves again; tensors that were loaded stay guarded.

    In a loaded model, a module can hold tensors that were not loaded: a head that the checkpoint lacks, or a copy that
    `resize_token_embeddings` made. Their flags are equal, so a warning names what will be drawn.

    FSDP2 derives a class of its own for a model, which transformers takes for custom code: it then leaves out modules
    without weights of their own, such as those that scale the weights of their parts.
    """
    flagged = [(prefix, part) for prefix, part in modules if vars(part).get(FLAG, False)]
    _warn_of_copies(modules, flagged)
    for _, part in flagged:
        vars(part).pop(FLAG, None)
    derived = [part for _, part in modules if type(part) is not own_class(part) and hasattr(part, CUSTOM)]
    for part in derived:
        vars(part)[CUSTOM] = getattr(own_class(part), CUSTOM)
    try:
        yield
    finally:
        for part in derived:
            vars(part).pop(CUSTOM, None)
        for _, part in flagged:
            setattr(part, FLAG, True)


def _warn_of_copies(modules: Modules, flagged: Modules) -> None:
    """Warn of tensors in a loaded model that were not loaded, but are initialized."""
    if not any(getattr(each, FLAG, False) for _, part in modules for each in part.parameters(recurse=False)):
        return
    names = [
        f"{prefix}{name}"
        for prefix, part in flagged
        for name, each in part.named_parameters(recurse=False)
        if not getattr(each, FLAG, False)
    ]
    if names:
        warnings.warn(
            f"{', '.join(names)}: not loaded from the checkpoint, and drawn anew by the model's own initialization, "
            f"also where resize_token_embeddings copied loaded weights. To keep a tensor, set its {FLAG} to True.",
            stacklevel=6,  # the caller of `named`
        )

"""Audit of a model or of a dictionary of tensors."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from initlib._public import public
from initlib.diagnostics.audit.audit import Audit, audit_tensors
from initlib.files.readers.stored_tensor import StoredTensor
from initlib.files.readers.torch_file import named_tensors

from .._private import is_dtensor
from ..models.buffers import model_buffers
from ..models.tensors import dtype_name, model_tensors, walk

FLAT = "this rank holds a flat shard of the parameter. Audit the unsharded model, or its checkpoint"


@public("initlib.adapters.torch")
def audit(model: Any, *, axes: str | None = None) -> Audit:
    """Audit the parameters and buffers of a module, or the tensors of a state dictionary (see `initlib.audit`).

    The tensors of a module have the names and axes of the module's plan. So each packed or grouped kernel is compared
    with its own fans. Two tensors that share memory are not reported as duplicates. A DTensor is gathered, so all ranks
    must call this function together. Flat shards of FSDP are not measured.

    Args:
        model: a `torch.nn.Module`, or a dictionary of tensors.
        axes: the order of axes, "OI..." or "...IO", of tensors whose module does not state the axes.

    Returns:
        The measured statistics and the scheme of each tensor.

    Raises:
        TypeError: `model` is neither a module nor a dictionary.
        ValueError: `axes` is not allowed.

    Example:
        >>> from torch import nn
        >>> import initlib.adapters.torch as init
        >>> layer = nn.Linear(64, 128, bias=False)
        >>> _ = init.he_normal_(layer.weight, seed=0)
        >>> init.audit(layer).tensors[0].scheme
        'he_normal'
    """
    if isinstance(model, nn.Module):
        return audit_tensors([("", "OI...", _of_module(model))], axes)
    if not isinstance(model, dict):
        raise TypeError(f"model must be a torch.nn.Module or a dictionary of tensors, got {type(model).__name__}")
    return audit_tensors([("", "OI...", named_tensors(model))], axes)


def _of_module(module: nn.Module) -> Iterator[StoredTensor]:
    """Yield the weights by the names of plans, then the buffers."""
    modules = walk(module)
    for weight in model_tensors(modules):
        name = weight.names[0]
        if weight.flat is not None:
            yield StoredTensor.without(name, weight.shape, dtype_name(weight.tensor), FLAT)
            continue
        tensor = weight.tensor.detach()
        for stored in named_tensors(tensor.full_tensor() if is_dtensor(tensor) else tensor, name):
            yield stored._replace(axes=weight.stored_axes)
    for buffer in model_buffers(modules):
        yield from named_tensors(buffer.tensor, buffer.names[0])

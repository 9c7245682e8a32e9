"""The audit of a model, or of anything that holds tensors."""

from typing import Any

from torch import nn

from initlib.checkpoints.readers.torch_file import named_tensors
from initlib.reports.audit import Audit, audit_tensors

__all__ = ["audit"]


def audit(model: Any, *, axes: str | None = None) -> Audit:
    """Audit the parameters and buffers of a module, or the tensors of a state dictionary: see `initlib.audit`.

    >>> from torch import nn
    >>> import initlib.adapters.torch as init
    >>> layer = nn.Linear(64, 128, bias=False)
    >>> _ = init.he_normal_(layer.weight, seed=0)
    >>> init.audit(layer).tensors[0].scheme
    'he_normal'

    Tensors that share their memory are one tensor, and no duplicates. Raises TypeError for another model.
    """
    state = model.state_dict() if isinstance(model, nn.Module) else model
    if not isinstance(state, dict):
        raise TypeError(f"model must be a torch.nn.Module or a dictionary of tensors, got {type(model).__name__}")
    return audit_tensors([("", "OI...", named_tensors(state))], axes)

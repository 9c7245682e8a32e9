"""Built: what a model was built with, which `to_empty()` and training lose: its constants, and which tensors are one.

A module keeps its own record, so that copies, wrappers and shards of it keep it too: `skeleton` writes all of it,
`initialize` the constants that it has read.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._private import version
from .layers import is_torch, may_draw

CONSTANTS = "_initlib_constants"  # {name: the value that every weight of the parameter had; None: they differed}
TIES = "_initlib_ties"  # {name: an object that the names of one tensor share}
SAMPLE = 32


def _record(module: nn.Module, record: str, name: str, value: Any) -> None:
    vars(module).setdefault(record, {})[name] = value


def record_constant(module: nn.Module, name: str, value: float | None) -> None:
    """Record the value that all weights of the parameter were built with; None where they differed."""
    _record(module, CONSTANTS, name, value)


def record_tie(module: nn.Module, name: str, group: object) -> None:
    """Record that the parameter is the same tensor as others of that group."""
    _record(module, TIES, name, group)


def is_recorded(module: nn.Module, name: str) -> bool:
    """Whether the module remembers what it built the parameter with."""
    return name in vars(module).get(CONSTANTS, {})


def recorded_constant(module: nn.Module, name: str) -> float | None:
    """What it remembers."""
    value: float | None = vars(module).get(CONSTANTS, {}).get(name)
    return value


def tie(module: nn.Module, name: str) -> object | None:
    """The recorded group, if there is one."""
    group: object | None = vars(module).get(TIES, {}).get(name)
    return group


def has_values(tensor: Tensor) -> bool:
    """Whether all the values of the tensor can be read here: it is not meta, fake or sharded."""
    return not tensor.is_meta and type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__


def constant_of(module: nn.Module, name: str) -> float | None:
    """The value that all weights of a parameter were built with; None where they differ.

    One weight alone is equal to all others also where it was drawn: then it is none that was meant.
    """
    value = _constant(getattr(module, name))
    drawn = value is not None and getattr(module, name).numel() == 1 and may_draw(module, name, value)
    return None if drawn else value


def _constant(tensor: Tensor) -> float | None:
    if not has_values(tensor) or not tensor.numel() or not tensor.is_floating_point() or tensor.itemsize < 2:
        return None
    weights = tensor.detach().flatten()
    value = float(weights[0])
    if not math.isfinite(value) or not bool((weights == weights[0]).all()):
        return None
    # The shortest decimal of the same bits: 1e-6, not 9.999999974752427e-07.
    return value if tensor.dtype is torch.float64 else float(str(np.float32(value)))


def as_built(parameters: Iterable[tuple[nn.Module, Tensor]]) -> bool:
    """Whether memory can be believed to hold what the modules' constructors put there.

    Memory that `to_empty()` made holds anything: often zeros, or what was there before. PyTorch's own modules draw
    their weights, in place, which a tensor's version counts; in fresh memory it is 0. So it is in a copy of a model:
    there every weight has to look drawn.
    """
    matrices = [(m, t) for m, t in parameters if t.ndim >= 2 and t.numel() and t.itemsize > 1 and has_values(t)]
    own = [t for module, t in matrices if is_torch(module)] or [t for _, t in matrices]
    looks = [_looks_drawn(tensor) for tensor in own]
    drawn = [look or tensor.is_inference() or version(tensor) > 0 for look, tensor in zip(looks, own, strict=True)]
    return all(drawn) and sum(looks) > len(looks) / 2


def _looks_drawn(tensor: Tensor) -> bool:
    """Whether most of a few of its values are of a weight's size."""
    whole = tensor.detach() if tensor.is_contiguous() else tensor.detach()[:1]  # no copy of a weight's size
    some = whole.flatten()[:: max(1, whole.numel() // SAMPLE)].abs()
    return int(((some > 1e-9) & (some < 100)).sum()) > len(some) / 2

"""Constructor values: the values that a module's constructor gave its tensors, read from memory or from a record.

Training and `to_empty()` lose these values, so that each module keeps a record, which copies, wrappers and shards of
the module have too. The record is two attributes of the user's module, dictionaries by the names of its parameters:

- `_initlib_constants`: the value that every weight had; None where they were drawn or differed; "zeroed", "set" and
  "computed" as a skeleton observed; "unread" where no values could be read when `initialize` first filled the tensor.
- `_initlib_ties`: an object that all names of one tensor share; a skeleton writes it, since `to_empty()` breaks ties.
"""

from collections.abc import Iterable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from initlib.plans.rules.constructor_value import ConstructorValue

from .layers import is_torch

CONSTANTS = "_initlib_constants"
TIES = "_initlib_ties"

ZEROED = "zeroed"  # a skeleton observed that the constructor set zeros
SET = "set"  # the constructor set values that differ, without a random call
COMPUTED = "computed"  # a skeleton observed that the values come from weights on the meta device
UNREAD = "unread"
Record = float | str | None

SAMPLE = 32


def record(module: nn.Module, name: str, value: Record) -> None:
    """Record the constructor value of a parameter."""
    vars(module).setdefault(CONSTANTS, {})[name] = value


def is_recorded(module: nn.Module, name: str) -> bool:
    """Return whether the module has a record of the parameter."""
    return name in vars(module).get(CONSTANTS, {})


def recorded(module: nn.Module, name: str) -> Record:
    """Return the record of a parameter."""
    value: Record = vars(module)[CONSTANTS][name]
    return value


def as_record(value: ConstructorValue) -> Record:
    """Return the record of a value that has been read."""
    if not value.recorded:
        return UNREAD
    return SET if value.unset and value.constant is None else value.constant


def from_record(value: Record) -> ConstructorValue:
    """Return the constructor value that a record states."""
    if value == UNREAD:
        return ConstructorValue()
    if isinstance(value, str):
        constant = 0.0 if value == ZEROED else None
        return ConstructorValue(constant=constant, recorded=True, zeroed=value == ZEROED, unset=value == SET)
    return ConstructorValue(constant=value, recorded=True)


def record_tie(module: nn.Module, name: str, group: object) -> None:
    """Record that the parameter is the same tensor as the others of a group."""
    vars(module).setdefault(TIES, {})[name] = group


def tie(module: nn.Module, name: str) -> object | None:
    """Return the recorded group of the parameter, if it has one."""
    group: object | None = vars(module).get(TIES, {}).get(name)
    return group


def has_values(tensor: Tensor) -> bool:
    """Return whether the values of the full tensor can be read here: it is not meta, fake, sharded or nested."""
    plain = type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__
    return plain and not tensor.is_meta and tensor.layout is torch.strided and not tensor.is_quantized


def read(tensor: Tensor, index: Any) -> NDArray[Any]:
    """Return the values of a box of a tensor, in a dtype of NumPy that holds all of them."""
    values = tensor.detach()[index].resolve_conj().resolve_neg().cpu()
    exact = values.dtype in (torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128)
    array: NDArray[Any] = (values if exact else values.float()).numpy()
    return array


def are_constructor_values(parameters: Iterable[tuple[nn.Module, Tensor]]) -> bool:
    """Return whether memory can be trusted to hold the values that the modules' constructors wrote.

    Memory that `to_empty()` made holds anything: often zeros, or what was there before. PyTorch's own modules draw
    their weights, in place, which a tensor's version counts; in fresh memory it is 0. It is 0 in a copy of a model too:
    there every weight has to look drawn.
    """
    matrices = [(m, t) for m, t in parameters if t.ndim >= 2 and has_values(t) and t.numel() and t.itemsize > 1]
    own = [tensor for module, tensor in matrices if is_torch(module)] or [tensor for _, tensor in matrices]
    looks = [_looks_drawn(tensor) for tensor in own]
    drawn = [look or tensor.is_inference() or tensor._version > 0 for look, tensor in zip(looks, own, strict=True)]
    return all(drawn) and sum(looks) > len(looks) / 2


def _looks_drawn(tensor: Tensor) -> bool:
    """Return whether most of a few of its values have the size of a weight."""
    rows = tensor.detach() if tensor.is_contiguous() else tensor.detach()[:1]  # no copy of the full tensor
    values = rows.flatten()[:: max(1, rows.numel() // SAMPLE)].abs()
    return int(((values > 1e-9) & (values < 100)).sum()) > len(values) / 2

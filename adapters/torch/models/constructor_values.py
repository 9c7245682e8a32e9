"""Constructor values: the values that a module's constructor gave its tensors, read from memory or from a record.

Training and `to_empty()` lose these values, so that each module keeps a record, which copies, wrappers and shards of
the module have too. The record is two attributes of the user's module, dictionaries by the names of its parameters:

- `_initlib_constants`: the value that every weight had; None where they were drawn or differed; "zeroed", "set" and
  "computed" as a skeleton observed; "unread" where no values could be read when `initialize` first filled the tensor.
- `_initlib_ties`: an object that all names of one tensor share; a skeleton writes it, since `to_empty()` breaks ties.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from initlib.plans.rules.constructor_value import ConstructorValue
from initlib.plans.rules.regularity import constant_of

from .._private import version
from ..drawing.memory import extent, has_full_storage, read_array
from .layers import is_torch

CONSTANTS = "_initlib_constants"
TIES = "_initlib_ties"

ZEROED = "zeroed"  # a skeleton observed that the constructor set zeros
SET = "set"  # the constructor set values that are not all equal, without a random call
COMPUTED = "computed"  # a skeleton observed that the values come from weights on the meta device
UNREAD = "unread"
Record = float | str | None

SAMPLE = 64
SMALLEST, LARGEST = 1e-9, 100  # absolute values between which a number has a weight's size


def record(module: nn.Module, name: str, value: Record) -> None:
    """Record the constructor value of a parameter."""
    vars(module).setdefault(CONSTANTS, {})[name] = value


def as_record(value: ConstructorValue) -> Record:
    """Return the record of a value that has been read."""
    if not value.recorded:
        return UNREAD
    return SET if value.unset and value.constant is None else value.constant


def records(places: Iterable[tuple[nn.Module, str]]) -> list[Record]:
    """Return the records of the places that have one."""
    found = []
    for module, name in places:
        constants = vars(module).get(CONSTANTS, ())
        if name in constants:
            found.append(constants[name])
    return found


@lru_cache(maxsize=1024)
def from_record(
    value: Record, frozen: bool, draws: bool | None, bound: float | None, draws_like: str | None
) -> ConstructorValue:
    """Return the constructor value that a record states, with the facts about the draw of its constructor."""
    recorded = value != UNREAD
    constant = None if isinstance(value, str) else value
    return ConstructorValue(
        constant=0.0 if value == ZEROED else constant,
        recorded=recorded,
        frozen=frozen,
        draws=draws,
        bound=bound,
        unset=value == SET,
        zeroed=value == ZEROED,
        draws_like=draws_like,
    )


def record_tie(module: nn.Module, name: str, group: object) -> None:
    """Record that the parameter is the same tensor as the others of a group."""
    vars(module).setdefault(TIES, {})[name] = group


def tie(module: nn.Module, name: str) -> object | None:
    """Return the recorded group of the parameter, if it has one."""
    return vars(module).get(TIES, {}).get(name)


def has_values(tensor: Tensor) -> bool:
    """Return whether the values of the full tensor can be read here: not meta, fake, sharded, nested or freed."""
    plain = type(tensor).__torch_dispatch__ is Tensor.__torch_dispatch__
    dense = tensor.layout is torch.strided and not tensor.is_nested and not tensor.is_quantized
    return plain and dense and not tensor.is_meta and has_full_storage(tensor, extent(tensor))


EXACT = (torch.float16, torch.float32, torch.float64, torch.complex64, torch.complex128)  # dtypes that NumPy has too


def read(tensor: Tensor, index: Any) -> NDArray[Any]:
    """Return the values of a box of a tensor, in a dtype of NumPy that holds all of them; the box may share memory."""
    if tensor.is_cpu and tensor.dtype in EXACT:
        return read_array(tensor)[index]
    values = tensor.detach()[index].resolve_conj().resolve_neg().cpu()
    return (values if values.dtype in EXACT else values.float()).numpy()


class Witness(NamedTuple):
    """A tensor of the model that shows whether memory still holds what constructors wrote."""

    owner: nn.Module
    tensor: Tensor
    kind: str


def are_constructor_values(witnesses: Iterable[Witness]) -> bool:
    """Return whether memory can be trusted to hold the values that the modules' constructors wrote.

    Memory that `to_empty()` made holds anything: often zeros, or the earlier content. PyTorch's own modules draw their
    weights in place, which a tensor's version counts; in fresh memory it is 0. It is 0 in a copy of a model too: there
    every weight has to look written, or be zero beside norms whose scales are constants. In a model without matrices,
    such as a norm alone, all vectors of PyTorch's own modules have to be written, and to be constants.
    """
    readable = [
        each for each in witnesses if has_values(each.tensor) and each.tensor.numel() and each.tensor.itemsize > 1
    ]
    matrices = [each for each in readable if each.tensor.ndim >= 2]
    own = [each for each in matrices if is_torch(each.owner)]
    if not matrices:
        vectors = [each.tensor for each in readable if is_torch(each.owner)]
        return bool(vectors) and all(_is_written(each) and _constant(each) is not None for each in vectors)
    looks = _look_written([each.tensor for each in own or matrices])
    if sum(looks) <= len(looks) / 2:
        return False
    unwritten = [
        each.tensor
        for look, each in zip(looks, own, strict=False)
        if not look and not each.tensor.is_inference() and version(each.tensor) == 0
    ]
    if not unwritten:
        return True
    # The constant of each scale; None where its values differ.
    scales = [constant_of(read(each.tensor, ...)) for each in readable if each.kind == "scale"]
    return bool(scales) and all(scales) and not any(bool(tensor.any()) for tensor in unwritten)


def is_zero_matrix(tensor: Tensor) -> bool:
    """Return whether a tensor with several axes longer than 1 is all zeros."""
    return has_values(tensor) and sum(size > 1 for size in tensor.shape) > 1 and not bool(tensor.detach().any())


def is_written_constant(tensor: Tensor) -> bool:
    """Return whether code wrote one number of a weight's size, other than 0, to all of a tensor, in place."""
    number = _constant(tensor) if _is_written(tensor) else None
    return number is not None and SMALLEST < abs(number) < LARGEST


def holds(tensor: Tensor, value: Record) -> bool:
    """Return whether all values of a tensor are the constant of a record; True for a record without a constant."""
    constant = from_record(value, False, None, None, None).constant
    return constant is None or not has_values(tensor) or tensor.numel() == 0 or _constant(tensor) == constant


def _constant(tensor: Tensor) -> float | None:
    """Return the number that all values of a tensor equal; None without one, or if the values cannot be read."""
    return constant_of(read(tensor, ...)) if has_values(tensor) and tensor.numel() else None


def _is_written(tensor: Tensor) -> bool:
    """Return whether PyTorch's functions wrote to the tensor in place, which its version counts."""
    return not tensor.is_inference() and version(tensor) > 0


def _look_written(tensors: list[Tensor]) -> list[bool]:
    """Return for each tensor whether a few values are zeros and numbers of a weight's size, and not all are zeros."""
    if not tensors:
        return []
    samples = [_sample(tensor) for tensor in tensors]
    sizes = np.abs(np.concatenate(samples))
    proper = (sizes > SMALLEST) & (sizes < LARGEST)
    counts = np.array([len(sample) for sample in samples])
    starts = np.cumsum(counts) - counts
    numbers, either = (np.add.reduceat(flags, starts, dtype=int) for flags in (proper, proper | (sizes == 0)))
    return ((numbers > 0) & (either > 0.9 * counts)).tolist()


def _sample(tensor: Tensor) -> NDArray[Any]:
    """Return a few values of a tensor: its first, and some at equal distances."""
    rows = tensor if tensor.is_contiguous() else tensor.detach()[:1]  # no copy of the full tensor
    step = max(1, rows.numel() // SAMPLE)
    if rows.is_cpu:
        values = read(rows, ...).ravel()
        return np.concatenate([values[:SAMPLE], values[::step]])
    flat = rows.detach().flatten()
    return read(torch.cat([flat[:SAMPLE], flat[::step]]), ...)

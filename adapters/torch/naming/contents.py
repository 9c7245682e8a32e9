"""Contents of a model: the parameters that its modules held at one time, and a fast comparison with now.

A draw into unknown memory may be a draw into new memory of a parameter, so each such draw compares the contents.
"""

from collections.abc import Iterable, Sequence
from operator import is_
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .._private import all_modules, held, local_tensor


class Contents:
    """The parameters of a model and their addresses, as they were when this object was made."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._modules = all_modules(module)
        self._held = held(self._modules)
        self._parameters = _tensors(self._held)
        self._addresses = self._addresses_now()

    def are_current(self, *, addresses: bool) -> bool:
        """Return whether the model holds the same parameters, and at the same addresses if `addresses` is True."""
        is_same = _same(held(self._modules), self._held)
        if not is_same:  # a new module without parameters does not count
            is_same = _same(_tensors(held(all_modules(self._module))), self._parameters)
        return is_same and not (addresses and self._addresses_now() != self._addresses)

    def _addresses_now(self) -> list[int]:
        return [_address(each) for each in self._parameters]


def _tensors(held: Iterable[Any]) -> list[Tensor]:
    return [each for each in held if isinstance(each, Tensor)]


def _same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Return whether two lists hold the same objects. Equality of tensors would compare their values."""
    return len(one) == len(other) and all(map(is_, one, other))


def _address(parameter: Tensor) -> int:
    """Return the address of a parameter's memory on this rank; 0 where it has none."""
    if type(parameter) is nn.Parameter:
        return parameter.data_ptr()
    return 0 if is_lazy(parameter) else local_tensor(parameter).data_ptr()

"""Tensors: which parameter of a model a tensor is, or is a part of."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from initlib import Parameter

from .internals import is_dtensor, local_tensor
from .parameters import parameters
from .views import View, box_of, overlap, same_memory
from .weights import Weight, walk, weights

__all__ = ["Known", "Tensors"]


class Known(NamedTuple):
    """A tensor of the model."""

    weight: Weight
    parameter: Parameter
    stream: str

    @property
    def tensor(self) -> Any:
        return self.weight.tensor


class Tensors:
    """The tensors of a model by their identity and by their memory, and the names of their streams."""

    def __init__(self, module: nn.Module, new_name: Callable[[str], str], prefix: str) -> None:
        self.module, self.new_name, self.prefix = module, new_name, prefix
        self._learn()

    def _learn(self) -> None:
        self._learnt = self._identities()
        found = weights(self.module, self.prefix)
        self._known: dict[int, Known] = {}
        self._stored: dict[int, list[Known]] = {}
        for weight, parameter in zip(found, parameters(found), strict=True):
            known = Known(weight, parameter, self.new_name(parameter.name))
            self._known[id(known.tensor)] = known
            self._stored.setdefault(_storage(_memory(known.tensor)), []).append(known)
        self.streams = {identity: known.stream for identity, known in self._known.items()}
        self.shapes = {known.stream: known.weight.shape for known in self._known.values()}
        self.modules = {id(part): self.new_name(prefix[:-1]) for prefix, part in walk(self.module, self.prefix)}

    def _identities(self) -> list[int]:
        return [id(parameter) for parameter in self.module.parameters()]

    def find(self, tensor: Tensor) -> tuple[Known, View | None] | None:
        """The parameter, and the box of it that the tensor is, or None for all of it; None for another tensor.

        Raises RuntimeError for a part of a parameter that is no box of it.
        """
        known = self._known.get(id(tensor))
        if known is not None and known.tensor is tensor:
            return known, None
        if self._identities() != self._learnt:  # as after `to_empty`
            self._learn()
            return self.find(tensor)
        view = _memory(tensor).detach()
        for known in self._stored.get(_storage(view), ()):
            whole = _memory(known.tensor)
            if same_memory(view, whole):
                return known, None
            if overlap(view, whole):
                box = None if is_dtensor(known.tensor) else box_of(view, whole)
                if box is None:
                    raise RuntimeError(
                        f"a draw goes to a part of {known.parameter.name} that is no box of it, or is one of a shard: "
                        f"shape {tuple(view.shape)}, strides {view.stride()} of {tuple(whole.shape)}, {whole.stride()}"
                    )
                return known, box
        return None


def _memory(tensor: Any) -> Tensor:
    """The memory of a tensor on this rank."""
    return local_tensor(tensor) if is_dtensor(tensor) else tensor


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()

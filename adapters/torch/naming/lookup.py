"""Tensors: which parameter of a model a tensor is, or is a part of."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from initlib import Parameter

from .._private import is_dtensor, local_tensor
from ..models.fsdp1 import FlatShard
from ..models.tensors import ModelTensor, model_tensors, parameters, walk
from .views import View, box_of, overlap, same_memory


class TensorMatch(NamedTuple):
    """A tensor of the model, or the row-major range of it that this rank holds."""

    weight: ModelTensor
    parameter: Parameter
    stream: str

    @property
    def memory(self) -> Tensor:
        """What there is of it here, in its own shape where that is all of it."""
        flat = self.weight.flat
        if flat is None:
            return _memory(self.weight.tensor)
        return flat.memory.view(flat.shape) if flat.is_whole else flat.memory

    @property
    def flat(self) -> FlatShard | None:
        """The range of it, where only that is here."""
        flat = self.weight.flat
        return None if flat is None or flat.is_whole else flat

    def cut(self, view: Tensor) -> "TensorMatch | None":
        """The smaller range that a view of the range is; None where it is none."""
        flat = self.weight.flat
        assert flat is not None
        start = int(view.storage_offset() - flat.memory.storage_offset())
        if view.ndim > 1 or not view.is_contiguous() or not 0 <= start <= flat.memory.numel() - view.numel():
            return None
        smaller = FlatShard(flat.shape, view.view(-1), flat.start + start)
        return self._replace(weight=replace(self.weight, flat=smaller))


class Tensors:
    """The tensors of a model by their identity and by their memory, and the names of their streams."""

    def __init__(self, module: nn.Module, new_name: Callable[[str], str], prefix: str) -> None:
        self.module, self.new_name, self.prefix = module, new_name, prefix
        self._learn()

    def _learn(self) -> None:
        self._learnt = self._identities()
        modules = walk(self.module, self.prefix)
        found = model_tensors(modules)
        self._known: dict[int, tuple[Tensor, TensorMatch]] = {}
        self._stored: dict[int, list[TensorMatch]] = {}
        self.by_stream: dict[str, TensorMatch] = {}
        for weight, parameter in zip(found, parameters(found, []), strict=True):
            known = TensorMatch(weight, parameter, self.new_name(parameter.name))
            self.by_stream[known.stream] = known
            for place in weight.places:
                self._known[id(place.tensor)] = place.tensor, known
            if known.memory.numel() and _storage(known.memory):  # which is 0 on the meta device
                self._stored.setdefault(_storage(known.memory), []).append(known)
        self.streams = {identity: known.stream for identity, (_, known) in self._known.items()}
        self.modules = {id(part): self.new_name(prefix[:-1]) for prefix, part in modules}

    def _identities(self) -> list[tuple[int, int]]:
        return [(id(parameter), _storage(_memory(parameter))) for parameter in self.module.parameters()]

    def find(self, tensor: Tensor) -> tuple[TensorMatch, View | None] | None:
        """The parameter, and the box of it that the tensor is, or None for all of it; None for another tensor.

        Raises RuntimeError for a part of a parameter that is no box of it, and for a tensor without memory.
        """
        held, known = self._known.get(id(tensor), (None, None))
        if known is not None and held is tensor and _storage(_memory(tensor)) == _storage(known.memory):
            return known, None
        if self._identities() != self._learnt:  # as after `to_empty`
            self._learn()
            return self.find(tensor)
        view = _memory(tensor).detach()
        if view.numel() and not _storage(view):
            raise RuntimeError(
                f"a draw goes to a tensor of shape {tuple(view.shape)} whose memory was freed, as "
                f"FullyShardedDataParallel does between steps: draw in its `summon_full_params`"
            )
        for known in self._stored.get(_storage(view), ()):
            whole = known.memory
            if same_memory(view, whole):
                return known, None
            if overlap(view, whole):
                return _part(known, view, whole)
        return None


def _part(known: TensorMatch, view: Tensor, whole: Tensor) -> tuple[TensorMatch, View | None]:
    """The box of a parameter, or the range of its range, that a view of its memory is."""
    smaller = known.cut(view) if known.flat else None
    if smaller is not None:
        return smaller, None
    box = None if known.flat or is_dtensor(known.weight.tensor) else box_of(view, whole)
    if box is None:
        raise RuntimeError(
            f"a draw goes to a part of {known.parameter.name} that is no box of it, or is one of a shard: "
            f"shape {tuple(view.shape)}, strides {view.stride()} of {tuple(whole.shape)}, {whole.stride()}"
        )
    return known, box


def _memory(tensor: Any) -> Tensor:
    """The memory of a tensor on this rank."""
    return local_tensor(tensor) if is_dtensor(tensor) else tensor


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()

"""Lookup: the parameter of a model for a tensor that is the parameter or a slice of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor, nn

from initlib import Key, Parameter

from .._private import attribute, is_alone, is_dtensor, local_tensor
from ..drawing.memory import DTYPES
from ..models.fsdp1 import FlatShard
from ..models.parameters import parameters
from ..models.shared_memory import same_memory
from ..models.tensors import ModelTensor, model_tensors, walk
from .computed import ComputedWeight, computed_weights, observe
from .contents import Contents
from .views import View, box_of, overlap


class TensorMatch(NamedTuple):
    """A tensor of the model, or the row-major range of it on this rank; or a weight that is computed from tensors."""

    tensor: ModelTensor | ComputedWeight
    parameter: Parameter
    stream: str
    kind: tuple[Any, ...] = ()  # the shape and the dtype of the tensor when the model was read

    @property
    def is_current(self) -> bool:
        """Return whether the tensor still has the shape and the dtype of the parameter."""
        if not isinstance(self.tensor, ModelTensor) or not self.kind:
            return True
        tensor = self.tensor.tensor
        return (tensor.shape, tensor.dtype) == self.kind

    @property
    def memory(self) -> Tensor:
        """Return the memory on this rank, in the parameter's own shape where it is the full parameter."""
        if isinstance(self.tensor, ComputedWeight):
            assert self.tensor.value is not None
            return local_tensor(self.tensor.value)
        flat = self.tensor.flat
        if flat is None:
            return local_tensor(self.tensor.tensor)
        return flat.memory.view(flat.shape) if flat.is_whole else flat.memory

    @property
    def flat(self) -> FlatShard | None:
        """Return the range of the parameter on this rank; None where it is the full parameter."""
        flat = None if isinstance(self.tensor, ComputedWeight) else self.tensor.flat
        return None if flat is None or flat.is_whole else flat

    @property
    def is_one_weight(self) -> bool:
        """Return whether this rank holds the full parameter, which is one weight."""
        full = isinstance(self.tensor, ModelTensor) and self.tensor.flat is None and self.parameter.padding is None
        return full and not self.is_sharded

    @property
    def is_sharded(self) -> bool:
        """Return whether the tensor is a DTensor."""
        held = self.tensor.value if isinstance(self.tensor, ComputedWeight) else self.tensor.tensor
        return is_dtensor(held)

    def cut(self, flat: FlatShard, view: Tensor) -> "TensorMatch | None":
        """Return the smaller range that a view of `flat` shows; None if the view shows no range."""
        start = int(view.storage_offset() - flat.memory.storage_offset())
        if view.ndim > 1 or not view.is_contiguous() or not 0 <= start <= flat.memory.numel() - view.numel():
            return None
        assert isinstance(self.tensor, ModelTensor)
        smaller = FlatShard(flat.shape, view.view(-1), flat.start + start)
        return self._replace(tensor=replace(self.tensor, flat=smaller))


class Tensors:
    """Tensors of a model, found by their identity or their memory, and the names of their streams."""

    def __init__(self, module: nn.Module, new_name: Callable[[str], str], prefix: str) -> None:
        self.module, self.new_name, self.prefix = module, new_name, prefix
        self._read()
        self._computed = list(computed_weights(walk(module, prefix)))

    def _read(self) -> None:
        """Read the tensors of the model. Parameters of lazy modules are left out until they have a shape."""
        modules = walk(self.module, self.prefix)
        self._contents = Contents(self.module)
        tensors = model_tensors(modules, skip_lazy=True)
        self._by_identity: dict[int, tuple[Tensor, TensorMatch]] = {}
        self._by_storage: dict[int, list[TensorMatch]] = {}
        self.by_stream: dict[str, TensorMatch] = {}
        for tensor, parameter in zip(tensors, parameters(tensors, []), strict=True):
            kind = () if tensor.flat or tensor.tensor.is_nested else (tensor.tensor.shape, tensor.tensor.dtype)
            match = TensorMatch(tensor, parameter, self.new_name(parameter.name), kind)
            self.by_stream[match.stream] = match
            for place in tensor.places:
                held = attribute(*place)
                self._by_identity[id(held)] = held, match
            if match.memory.numel() and _storage(match.memory):  # which is 0 on the meta device
                self._by_storage.setdefault(_storage(match.memory), []).append(match)
        self.modules = {id(part): self.new_name(prefix[:-1]) for prefix, part in modules}
        self.ranges = [stream for stream, match in self.by_stream.items() if match.flat is not None]
        self._streams = {identity: match.stream for identity, (_, match) in self._by_identity.items()}
        self._moves = any(tensor.flat is not None for tensor in tensors)  # FullyShardedDataParallel moves parameters

    @property
    def streams(self) -> dict[int, str]:
        """Return the names of the streams of parameters and computed weights, by the identity of the tensor."""
        if not self._computed:
            return self._streams
        computed = ((weight.current(), weight) for weight in self._computed)
        return self._streams | {
            id(value): self.new_name(weight.name) for value, weight in computed if value is not None
        }

    def observe(self, key: Key) -> Callable[[bool], None]:
        """Observe the computed weights, to store the values that are written to them.

        Returns the function that ends the observation, and stores the last values if its argument is True.
        """

        def store(weight: ComputedWeight) -> None:
            match = self.by_stream.get(self.new_name(weight.name))
            weight.store(match.tensor if match and isinstance(match.tensor, ModelTensor) else None, key)

        handles = [handle for weight in self._computed for handle in observe(weight, store)]

        def end(last: bool) -> None:
            for handle in handles:
                handle.remove()
            for weight in self._computed if last else ():
                store(weight)

        for weight in self._computed:
            weight.current()
        return end

    def find(self, tensor: Tensor) -> tuple[TensorMatch, View | None] | None:
        """Return the parameter that a tensor shows, with the box, or None for the full one; None for other tensors.

        Raises RuntimeError for a slice of a parameter that is no box, for a tensor whose memory was freed, and
        for a weight that is computed without a right inverse.
        """
        held, match = self._by_identity.get(id(tensor), (None, None))
        if match is not None and held is tensor and _storage(local_tensor(tensor)) == _storage(match.memory):
            if match.is_current:
                return match, None
            self._read()
            return self.find(tensor)
        address = _storage(local_tensor(tensor))
        known = self._by_storage.get(address, ()) if address else ()
        matches = [match for match in known if _storage(match.memory) == address]
        # Comparing the contents takes long in a large model, so that is done for unknown memory only.
        is_current = (
            all(match.is_current for match in matches)
            if matches
            else self._contents.are_current(addresses=self._may_be_new_memory(tensor))
        )
        if not is_current:
            self._read()
            return self.find(tensor)
        view = local_tensor(tensor).detach()
        if view.numel() and not address:
            raise RuntimeError(
                f"a draw must fill a tensor in memory, got shape {tuple(view.shape)} whose memory was freed, as "
                f"FullyShardedDataParallel does between steps. Draw in its `summon_full_params`"
            )
        for match in (*matches, *self._computed_on(view)):
            memory = match.memory
            if same_memory(view, memory):
                return match, None
            if overlap(view, memory):
                return _slice(match, memory, view)
        return None

    def _may_be_new_memory(self, tensor: Tensor) -> bool:
        """Return whether a tensor may show memory that a parameter got after the model was read."""
        return self._moves or type(tensor) is not Tensor or not is_alone(tensor)

    def _computed_on(self, view: Tensor) -> list[TensorMatch]:
        """Return the computed weight whose value the view shows, and mark it as drawn."""
        for weight in self._computed:
            value = weight.current()
            if value is not None and _storage(local_tensor(value)) == _storage(view):
                weight.drawn = True
                if not weight.is_stored:
                    weight.check()
                    return [TensorMatch(weight, weight.parameter, self.new_name(weight.name))]
        return []


def _slice(match: TensorMatch, full: Tensor, view: Tensor) -> tuple[TensorMatch, View | None]:
    """Return the box of a parameter, or the smaller range of a flat shard, that a view of its memory shows."""
    flat = match.flat
    smaller = None if flat is None or view.dtype is not full.dtype else match.cut(flat, view)
    if smaller is not None:
        return smaller, None
    box = None if flat is not None or match.is_sharded else box_of(view, full)
    if view.dtype is not full.dtype and (box is None or view.dtype in DTYPES):
        raise RuntimeError(
            f"a draw into {match.parameter.name} must fill a tensor of dtype {full.dtype}, got a view of dtype "
            f"{view.dtype}. Draw into {match.parameter.name} itself, or into a slice of it"
        )
    if box is None:
        raise RuntimeError(
            f"a draw into a part of {match.parameter.name} must fill a slice of each axis, such as weight[:4, 2:], got "
            f"a view of shape {tuple(view.shape)} and strides {view.stride()} of a weight of shape {tuple(full.shape)} "
            f"and strides {full.stride()}"
        )
    return match, box


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()

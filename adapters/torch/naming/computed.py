"""Computed weights: weights that a module computes from stored tensors, as by weight norm, spectral norm or pruning.

PyTorch computes such a weight anew at each access or call, so a draw into the weight is lost. This file remembers the
last value of each weight. Before the weight is computed anew, and at the end, a changed value is stored: its right
inverse is copied to the tensors that the weight is computed from.
"""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from initlib import Key, Parameter
from initlib.adapters.common.roles import UNKNOWN

from .. import _private
from ..drawing.memory import DTYPES
from ..models.buffers import reset_buffers
from ..models.fill import normalize
from ..models.layers import BIAS, own_class, roles
from ..models.tensors import ModelTensor, Modules

Computation = WeightNorm | SpectralNorm | BasePruningMethod  # a hook that computes a weight before each call


class ComputedWeight:
    """A weight of a module, the tensors that it is computed from, and the value that it had last."""

    def __init__(self, prefix: str, module: nn.Module, attribute: str, computation: Any) -> None:
        self.prefix, self.module, self.attribute, self.computation = prefix, module, attribute, computation
        self.value: Tensor | None = None  # kept, so that no other tensor gets its memory or identity
        self.version = 0
        self.drawn = False

    @property
    def name(self) -> str:
        """Return the name that the weight would have as a parameter."""
        return f"{self.prefix}{self.attribute}"

    @property
    def stored(self) -> dict[str, Tensor]:
        """Return the tensors that the weight is computed from, by their names in the model."""
        if not isinstance(self.computation, Computation):
            chain = self.computation
            names = ["original"] if chain.is_tensor else [f"original{number}" for number in range(chain.ntensors)]
            return {f"{self.prefix}parametrizations.{self.attribute}.{name}": getattr(chain, name) for name in names}
        suffixes = ("_v", "_g") if isinstance(self.computation, WeightNorm) else ("_orig",)
        return {f"{self.name}{suffix}": getattr(self.module, f"{self.attribute}{suffix}") for suffix in suffixes}

    @property
    def is_stored(self) -> bool:
        """Return whether the value is the memory of a stored tensor, as in spectral norm before the first call."""
        assert self.value is not None
        storage = _private.local_tensor(self.value).untyped_storage().data_ptr()
        return any(storage == _private.local_tensor(each).untyped_storage().data_ptr() for each in self.stored.values())

    def remember(self, value: Tensor) -> None:
        """Remember the value that the module computed."""
        self.value, self.version, self.drawn = value, 0 if value.is_inference() else _private.version(value), False

    def current(self) -> Tensor | None:
        """Return the last value; a hook of a module keeps it as an attribute."""
        if isinstance(self.computation, Computation):
            value = getattr(self.module, self.attribute)
            if value is not self.value:
                self.remember(value)
        return self.value

    @property
    def parameter(self) -> Parameter:
        """Return the weight as a parameter of the model, with the axes that it has without the computation."""
        assert self.value is not None
        role = roles(self.module).get(self.attribute) or (BIAS if self.attribute == "bias" else UNKNOWN)
        shape, dtype = tuple(self.value.shape), DTYPES[self.value.dtype]
        return Parameter(self.name, shape, dtype, role.axes, role.kind, own_class(self.module).__name__)

    def check(self) -> None:
        """Raise RuntimeError if a step of the computation has no right inverse."""
        steps = () if isinstance(self.computation, Computation) else self.computation
        missing = [type(step).__name__ for step in steps if not hasattr(step, "right_inverse")]
        if missing:
            raise self._lost(f"{missing[0]} has no right_inverse")

    def _lost(self, reason: str) -> RuntimeError:
        stored = " and ".join(self.stored)
        return RuntimeError(
            f"{self.name} is computed from {stored}, and no values of {stored} give the drawn weights: {reason}. "
            f"Draw into {stored}."
        )

    def store(self, tensor: ModelTensor | None, key: Key) -> None:
        """Copy the right inverse of the value to the stored tensors, if the value was written to.

        `tensor` is the weight in the model's list of tensors, if that has it, and `key` the key of the full model.
        """
        value = self.current()
        if value is None or value.is_meta or not (self.drawn or self._was_written(value)):
            return
        with torch.no_grad():
            if not self.is_stored:
                self.check()
                for stored, inverse in zip(self.stored.values(), self._inverse(value), strict=False):
                    stored.copy_(inverse)
            if tensor is not None and tensor.magnitude is not None:
                normalize(tensor)
            elif isinstance(self.computation, BasePruningMethod):
                pruned = self.computation.apply_mask(self.module)
                setattr(self.module, self.attribute, pruned)
            reset_buffers([(self.prefix, self.module)], {id(self.module): {self.attribute}}, (), set(), key)
        self.value = None

    def _was_written(self, value: Tensor) -> bool:
        return not value.is_inference() and _private.version(value) != self.version

    def _inverse(self, value: Any) -> tuple[Tensor, ...]:
        """Return values of the first stored tensors from which the module computes the value."""
        if isinstance(self.computation, Computation):
            return (value,)
        try:
            for step in reversed(list(self.computation)):
                value = step.right_inverse(value)
        except Exception as error:
            raise self._lost(str(error).partition("\n")[0].rstrip(".")) from error
        return (value,) if isinstance(value, Tensor) else tuple(value)


def computed_weights(modules: Modules) -> Iterator[ComputedWeight]:
    """Yield the computed weights of a model."""
    for prefix, module in modules:
        for name, chain in _private.parametrizations(module).items():
            yield ComputedWeight(prefix, module, name, chain)
        for hook in _private.calls_before_forward(module):
            if isinstance(hook, BasePruningMethod):
                yield ComputedWeight(prefix, module, _private.pruned_name(hook), hook)
            elif isinstance(hook, WeightNorm | SpectralNorm):
                yield ComputedWeight(prefix, module, hook.name, hook)


def observe(weight: ComputedWeight, store: Callable[[ComputedWeight], None]) -> list[Any]:
    """Store a weight before its module computes it anew, remember the new value, and return the hooks' handles."""
    thread = threading.get_ident()

    def before(module: nn.Module, args: Any) -> None:
        if threading.get_ident() == thread:
            store(weight)

    def after(module: nn.Module, args: Any, value: Tensor) -> None:
        if threading.get_ident() == thread:
            weight.remember(value)

    if isinstance(weight.computation, Computation):
        return [weight.module.register_forward_pre_hook(before, prepend=True)]
    return [weight.computation.register_forward_pre_hook(before), weight.computation.register_forward_hook(after)]

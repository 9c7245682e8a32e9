"""Buffers of PyTorch's own modules, which start anew with the parameters, and the buffers that rules name."""

from collections.abc import Callable, Collection, Container, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.nn.utils.spectral_norm import SpectralNorm

from initlib import Parameter, Plan, keep, normal
from initlib.adapters.common.roles import BUFFER
from initlib.key import Key
from initlib.plans.rules.patterns import patterns_of_kind
from initlib.plans.rules.renaming import as_rename
from initlib.plans.types import Rename, Rules

from .. import _private
from ..more_init import fill_
from . import constructor_values
from .layers import WITH_STATISTICS, own_class
from .tensors import ModelTensor, Modules, dtype_name

Drawn = Mapping[int, Collection[str]]  # the attributes whose weights were drawn, by the id of their module

POWER_ITERATIONS = 15  # PyTorch's own number
LOST = (
    "{name}: the values of this buffer on the meta device are lost. Build the model in `with skeleton():`, which "
    'leaves buffers on their device, or fill the buffer by a rule for "{name}:buffer"'
)
OF_SKELETON = (
    "{name}: the constructor computed this buffer from weights, which a skeleton does not have. Build the model "
    "without `skeleton()`"
)
SHARDED = (
    "{name}: the estimates of the spectral norm need the full weight, and this rank holds a shard. Initialize the "
    "model before sharding"
)


def ruled_buffers(modules: Modules, rules: Rules | Plan | None, rename: Rename | None) -> list[ModelTensor]:
    """Return the buffers that an existing plan has, or for which a rule has a pattern that ends in `:buffer`."""
    if isinstance(rules, Plan):
        planned = {name for entry in rules.entries for name in entry.parameter.names}
        return model_buffers(modules, planned.__contains__)
    patterns = patterns_of_kind(rules, "buffer")
    if not patterns:
        return []
    new_name = as_rename(rename)
    return model_buffers(modules, lambda name: any(pattern.name.fullmatch(new_name(name)) for pattern in patterns))


def model_buffers(modules: Modules, is_selected: Callable[[str], bool] = lambda name: True) -> list[ModelTensor]:
    """Return the buffers with selected names, each once; by default all buffers."""
    buffers: dict[int, ModelTensor] = {}
    for prefix, part in modules:
        for name, buffer in _private.own_buffers(part):
            if is_selected(prefix + name):
                each = buffers.setdefault(id(buffer), ModelTensor(part, name, BUFFER, (), (), buffer))
                each.names += (prefix + name,)
                each.places += ((part, name),)
    for each in buffers.values():
        each.read()
    return list(buffers.values())


def buffer_parameter(buffer: ModelTensor) -> Parameter:
    """Return the parameter of a plan for a buffer, which only a rule fills."""
    dtype = dtype_name(buffer.tensor)
    owner, tied = own_class(buffer.owner).__name__, buffer.names[1:]
    return Parameter(buffer.names[0], buffer.shape, dtype, kind="buffer", owner=owner, default=keep, tied=tied)


def lost_buffers(modules: Modules, filled: Collection[str]) -> list[str]:
    """Return a problem for each buffer on the meta device that is not filled, and cannot be computed again."""
    text = OF_SKELETON if any(constructor_values.CONSTANTS in vars(part) for _, part in modules) else LOST
    return [
        text.format(name=f"{prefix}{name}")
        for prefix, part in modules
        for name, buffer in _private.own_buffers(part)
        if buffer.is_meta
        and f"{prefix}{name}" not in filled
        and not isinstance(part, (*WITH_STATISTICS, _private.SpectralNorm))
    ]


def sharded_estimates(modules: Modules, drawn: Drawn) -> list[str]:
    """Return a problem for each drawn weight whose spectral norm cannot be estimated from its shard."""
    return [
        SHARDED.format(name=f"{prefix}{name}")
        for prefix, part in modules
        for name, stored, _ in _normed(part, drawn)
        if _private.is_dtensor(stored)
    ]


def _normed(part: Any, drawn: Drawn) -> Iterator[tuple[str, Tensor, Any]]:
    """Yield the drawn weights of a module that have a spectral norm: the name, the stored tensor, and the norm."""
    attributes = drawn.get(id(part), ())
    for name, chain in _private.parametrizations(part).items():
        # The spectral norm of a vector estimates nothing.
        if name in attributes and isinstance(chain[0], _private.SpectralNorm) and chain.original.ndim > 1:
            yield name, chain.original, chain[0]
    for hook in _private.calls_before_forward(part):
        if isinstance(hook, SpectralNorm) and hook.name in attributes:
            yield hook.name, getattr(part, f"{hook.name}_orig"), hook


def buffer_names(modules: Modules) -> list[str]:
    """Return the names of all buffers, made as those of parameters are."""
    return [f"{prefix}{name}" for prefix, part in modules for name, _ in _private.own_buffers(part)]


def reset_buffers(modules: Modules, drawn: Drawn, keeps: Container[int], buffers: set[str], key: Key) -> None:
    """Start the statistics and estimates of PyTorch's own modules anew: those of drawn weights, and named buffers.

    `keeps` holds the ids of the modules that keep a weight: their statistics fit this weight, and stay too.
    """
    part: Any
    for prefix, part in modules:
        names = (f"{prefix}{name}" for name, _ in _private.own_buffers(part))
        named = id(part) not in keeps and not buffers.isdisjoint(names)
        if isinstance(part, WITH_STATISTICS) and (id(part) in drawn or named):
            part.reset_running_stats()
        for name, stored, norm in _normed(part, drawn):
            if not isinstance(norm, SpectralNorm):
                _draw(_private.singular_vectors(norm), f"{prefix}{name}.", key)
                _private.iterate(norm, stored, POWER_ITERATIONS)
                continue
            _draw((getattr(part, f"{name}_u"), getattr(part, f"{name}_v")), f"{prefix}{name}.", key)
            for _ in range(POWER_ITERATIONS):
                weight = norm.compute_weight(part, do_power_iteration=True)
            setattr(part, name, weight)


def _draw(vectors: tuple[Tensor, Tensor], prefix: str, key: Key) -> None:
    """Draw the estimates of the singular vectors, as PyTorch's constructor does."""
    for vector, name in zip(vectors, "uv", strict=True):
        fill_(vector, normal(), seed=key, name=f"{prefix}{name}")

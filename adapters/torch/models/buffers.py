"""The buffers of PyTorch's own modules, which start anew with the parameters; other buffers are never drawn."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.nn.utils.spectral_norm import SpectralNorm

from initlib import normal
from initlib.key import Key

from .. import _private
from ..more_init import fill_
from . import constructor_values
from .layers import WITH_STATISTICS
from .tensors import Modules

Drawn = Mapping[int, Collection[str]]  # the attributes whose weights were drawn, by the id of their module

POWER_ITERATIONS = 15  # PyTorch's own number
LOST = (
    "{name}: it is a buffer on the meta device, and its values are lost; build the model in `with skeleton():`, which "
    "leaves buffers on their device"
)
OF_SKELETON = (
    "{name}: its constructor computed this buffer from weights, which a skeleton does not have; build the model "
    "without `skeleton()`"
)
SHARDED = (
    "{name}: the estimates of its spectral norm need the full weight, and this rank holds a shard; initialize the "
    "model before it is sharded"
)


def lost_buffers(modules: Modules) -> list[str]:
    """Return a problem for each buffer on the meta device whose values cannot be computed again."""
    text = OF_SKELETON if any(constructor_values.CONSTANTS in vars(part) for _, part in modules) else LOST
    return [
        text.format(name=f"{prefix}{name}")
        for prefix, part in modules
        for name, buffer in _private.own_buffers(part)
        if buffer.is_meta and not isinstance(part, (*WITH_STATISTICS, _private.SpectralNorm))
    ]


def sharded_estimates(modules: Modules, drawn: Drawn) -> list[str]:
    """Return a problem for each drawn weight whose spectral norm cannot be estimated from its shard."""
    return [
        SHARDED.format(name=f"{prefix}{name}")
        for prefix, part in modules
        for name, stored in _normed(part, drawn)
        if _private.is_dtensor(stored)
    ]


def _normed(part: Any, drawn: Drawn) -> Iterator[tuple[str, Tensor]]:
    """Yield the drawn weights of a module that have a spectral norm: the name, and the stored tensor."""
    attributes = drawn.get(id(part), ())
    for name, chain in _private.parametrizations(part).items():
        if name in attributes and _estimates(chain):
            yield name, chain.original
    for hook in _private.calls_before_forward(part):
        if isinstance(hook, SpectralNorm) and hook.name in attributes:
            yield hook.name, getattr(part, f"{hook.name}_orig")


def buffer_names(modules: Modules) -> list[str]:
    """Return the names of all buffers, made as those of parameters are."""
    return [f"{prefix}{name}" for prefix, part in modules for name, _ in _private.own_buffers(part)]


def reset_buffers(modules: Modules, drawn: Drawn, buffers: set[str], key: Key) -> None:
    """Start the statistics and estimates of PyTorch's own modules anew: those of drawn weights, and named buffers."""
    part: Any
    for prefix, part in modules:
        named = not buffers.isdisjoint(f"{prefix}{name}" for name, _ in _private.own_buffers(part))
        if isinstance(part, WITH_STATISTICS) and (id(part) in drawn or named):
            part.reset_running_stats()
        for name, stored in _normed(part, drawn):
            if name in _private.parametrizations(part):
                norm = part.parametrizations[name][0]
                _draw(_private.singular_vectors(norm), f"{prefix}{name}.", key)
                _private.iterate(norm, stored, POWER_ITERATIONS)
                continue
            hook = next(each for each in _private.calls_before_forward(part) if getattr(each, "name", None) == name)
            _draw((getattr(part, f"{name}_u"), getattr(part, f"{name}_v")), f"{prefix}{name}.", key)
            for _ in range(POWER_ITERATIONS):
                weight = hook.compute_weight(part, do_power_iteration=True)
            setattr(part, name, weight)


def _estimates(chain: Any) -> bool:
    """Return whether the chain begins with the spectral norm of a matrix; that of a vector estimates nothing."""
    return isinstance(chain[0], _private.SpectralNorm) and chain.original.ndim > 1


def _draw(vectors: tuple[Tensor, Tensor], prefix: str, key: Key) -> None:
    """Draw the estimates of the singular vectors, as PyTorch's constructor does."""
    for vector, name in zip(vectors, "uv", strict=True):
        fill_(vector, normal(), seed=key, name=f"{prefix}{name}")

"""The buffers of PyTorch's own modules, which start anew with the parameters; other buffers are never drawn."""

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
        for name, buffer in part.named_buffers(recurse=False)
        if buffer.is_meta and not isinstance(part, (*WITH_STATISTICS, _private.SpectralNorm))
    ]


def sharded_estimates(modules: Modules, drawn: set[int]) -> list[str]:
    """Return a problem for each drawn weight whose spectral norm cannot be estimated from its shard."""
    return [
        SHARDED.format(name=f"{prefix}{name}")
        for prefix, part in modules
        for name, chain in getattr(part, "parametrizations", {}).items()
        if id(part) in drawn and _estimates(chain) and _private.is_dtensor(chain.original)
    ] + [
        SHARDED.format(name=f"{prefix}{hook.name}")
        for prefix, part in modules
        for hook in _private.calls_before_forward(part)
        if id(part) in drawn
        and isinstance(hook, SpectralNorm)
        and _private.is_dtensor(getattr(part, f"{hook.name}_orig"))
    ]


def buffer_names(modules: Modules) -> list[str]:
    """Return the names of all buffers, made as those of parameters are."""
    return [f"{prefix}{name}" for prefix, part in modules for name, _ in part.named_buffers(recurse=False)]


def reset_buffers(modules: Modules, drawn: set[int], buffers: set[str], key: Key) -> None:
    """Start the statistics and estimates of PyTorch's own modules anew.

    `drawn` holds the ids of the modules whose parameters were drawn, `buffers` the names of other buffers to reset.
    """
    part: Any
    for prefix, part in modules:
        named = not buffers.isdisjoint(f"{prefix}{name}" for name, _ in part.named_buffers(recurse=False))
        if isinstance(part, WITH_STATISTICS) and (id(part) in drawn or named):
            part.reset_running_stats()
        for name, chain in getattr(part, "parametrizations", {}).items():
            if id(part) in drawn and _estimates(chain):
                _draw(_private.singular_vectors(chain[0]), f"{prefix}{name}.", key)
                _private.iterate(chain[0], chain.original, POWER_ITERATIONS)
        for hook in _private.calls_before_forward(part):
            if id(part) in drawn and isinstance(hook, SpectralNorm):
                _draw((getattr(part, f"{hook.name}_u"), getattr(part, f"{hook.name}_v")), f"{prefix}{hook.name}.", key)
                for _ in range(POWER_ITERATIONS):
                    weight = hook.compute_weight(part, do_power_iteration=True)
                setattr(part, hook.name, weight)


def _estimates(chain: Any) -> bool:
    """Return whether the chain begins with the spectral norm of a matrix; that of a vector estimates nothing."""
    return isinstance(chain[0], _private.SpectralNorm) and chain.original.ndim > 1


def _draw(vectors: tuple[Tensor, Tensor], prefix: str, key: Key) -> None:
    """Draw the estimates of the singular vectors, as PyTorch's constructor does."""
    for vector, name in zip(vectors, "uv", strict=True):
        fill_(vector, normal(), seed=key, name=f"{prefix}{name}")

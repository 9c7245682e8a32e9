"""Buffers: those of PyTorch's own modules, started anew; nothing is drawn for others."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.spectral_norm import SpectralNorm

from initlib import normal
from initlib.key import Key

from .. import _private as internals
from ..more_init import fill_
from .layers import WITH_STATISTICS
from .tensors import walk

POWER_ITERATIONS = 15  # PyTorch's own number


def lost_buffers(module: nn.Module) -> list[str]:
    """What to say of the buffers on the meta device that nobody can compute again."""
    return [
        f"{prefix}{name}: it is a buffer on the meta device, and what it held is lost; build the model in "
        f"`with skeleton():`, which leaves buffers alone"
        for prefix, part in walk(module)
        for name, buffer in part.named_buffers(recurse=False)
        if buffer.is_meta and not isinstance(part, (*WITH_STATISTICS, internals.SpectralNorm))
    ]


def buffer_names(modules: Iterable[tuple[str, nn.Module]]) -> list[str]:
    """The names of all buffers, made as those of parameters are."""
    return [f"{prefix}{name}" for prefix, part in modules for name, _ in part.named_buffers(recurse=False)]


def reset_buffers(modules: Iterable[tuple[str, nn.Module]], drawn: set[int], buffers: set[str], key: Key) -> None:
    """Start the statistics and the estimates of PyTorch's own modules anew.

    That is of those modules whose parameters were drawn, which are told by identity, and of these buffers.
    """
    part: Any
    for prefix, part in modules:
        named = not buffers.isdisjoint(f"{prefix}{name}" for name, _ in part.named_buffers(recurse=False))
        if isinstance(part, WITH_STATISTICS) and (id(part) in drawn or named):
            part.reset_running_stats()
        for name, chain in getattr(part, "parametrizations", {}).items():
            if id(part) in drawn and _estimates(chain):
                _draw(internals.singular_vectors(chain[0]), f"{prefix}{name}.", key)
                internals.iterate(chain[0], chain.original, POWER_ITERATIONS)
        for hook in internals.calls_before_forward(part):
            if id(part) in drawn and isinstance(hook, SpectralNorm):
                _draw((getattr(part, f"{hook.name}_u"), getattr(part, f"{hook.name}_v")), f"{prefix}{hook.name}.", key)
                for _ in range(POWER_ITERATIONS):
                    weight = hook.compute_weight(part, do_power_iteration=True)
                setattr(part, hook.name, weight)


def _estimates(chain: Any) -> bool:
    """Whether a chain of parametrizations begins with the spectral norm of a matrix: of a vector it is no estimate."""
    return isinstance(chain[0], internals.SpectralNorm) and chain.original.ndim > 1


def _draw(vectors: tuple[Tensor, Tensor], prefix: str, key: Key) -> None:
    """Start the estimates of the singular vectors as PyTorch does, with a draw."""
    for vector, name in zip(vectors, "uv", strict=True):
        fill_(vector, normal(), seed=key, name=f"{prefix}{name}")

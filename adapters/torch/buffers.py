"""Buffers: those of PyTorch's own modules, started anew; nothing is drawn for others."""

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm

from initlib import normal
from initlib.key import Key

from . import internals
from .modules import WITH_STATISTICS
from .ours import fill_
from .parameters import walk

__all__ = ["lost_buffers", "reset_buffers"]

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


def reset_buffers(module: nn.Module, key: Key) -> None:
    """Start the statistics and the estimates of PyTorch's own modules anew."""
    part: Any
    for prefix, part in walk(module):
        if isinstance(part, WITH_STATISTICS):
            part.reset_running_stats()
        elif _estimates(part):
            _draw(internals.singular_vectors(part[0]), prefix, key)
            internals.iterate(part[0], part.original, POWER_ITERATIONS)
        for hook in internals.calls_before_forward(part):
            if isinstance(hook, SpectralNorm):
                _draw((getattr(part, f"{hook.name}_u"), getattr(part, f"{hook.name}_v")), f"{prefix}{hook.name}.", key)
                for _ in range(POWER_ITERATIONS):
                    weight = hook.compute_weight(part, do_power_iteration=True)
                setattr(part, hook.name, weight)


def _estimates(part: Any) -> bool:
    """Whether it estimates the spectral norm of a matrix: that of a vector needs no estimate."""
    if not isinstance(part, ParametrizationList) or not isinstance(part[0], internals.SpectralNorm):
        return False
    return bool(part.original.ndim > 1)


def _draw(vectors: tuple[Tensor, Tensor], prefix: str, key: Key) -> None:
    """Start the estimates of the singular vectors as PyTorch does, with a draw."""
    for vector, name in zip(vectors, "uv", strict=True):
        fill_(vector, normal(), seed=key, name=f"{prefix}{name}")

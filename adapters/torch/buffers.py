"""Buffers: those of PyTorch's own modules, started anew; nothing is drawn for others."""

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm

from initlib import normal
from initlib.key import Key

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
        for name, buffer in part._buffers.items()
        if buffer is not None and buffer.is_meta and not isinstance(part, (_NormBase, _SpectralNorm))
    ]


def reset_buffers(module: nn.Module, key: Key) -> None:
    """Start the statistics and the estimates of PyTorch's own modules anew."""
    for prefix, part in walk(module):
        if isinstance(part, _NormBase):
            part.reset_running_stats()
        elif isinstance(part, ParametrizationList) and isinstance(part[0], _SpectralNorm) and part.original.ndim > 1:
            _draw((part[0]._u, part[0]._v), prefix, key)
            matrix = part[0]._reshape_weight_to_matrix(part.original)
            part[0]._power_method(matrix, POWER_ITERATIONS)
        for hook in part._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                _draw((getattr(part, f"{hook.name}_u"), getattr(part, f"{hook.name}_v")), f"{prefix}{hook.name}.", key)
                for _ in range(POWER_ITERATIONS):
                    weight = hook.compute_weight(part, do_power_iteration=True)
                setattr(part, hook.name, weight)


def _draw(vectors: tuple[Tensor, Tensor], prefix: str, key: Key) -> None:
    """Start the estimates of the singular vectors as PyTorch does, with a draw."""
    for vector, name in zip(vectors, "uv", strict=True):
        fill_(vector, normal(), seed=key, name=f"{prefix}{name}")

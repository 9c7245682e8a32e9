"""The names of `torch.nn.init`, with the core's draws."""

import math
import warnings
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.init import (
    _calculate_correct_fan,
    _calculate_fan_in_and_fan_out,
    _make_deprecate,
    constant,
    constant_,
    ones_,
    zeros_,
)
from torch.nn.init import _no_grad_fill_ as _no_grad_fill_
from torch.nn.init import _no_grad_zero_ as _no_grad_zero_

import initlib
from initlib.schemes.initializer import positive, real

from .draw import Name, Seed, check_bounds, draw, overridable
from .gains import calculate_gain
from .matrices import delta_orthogonal_, dirac_, eye_, orthogonal_, sparse_
from .ours import (
    fill_,
    glorot_normal_,
    glorot_uniform_,
    he_normal_,
    he_uniform_,
    lecun_normal_,
    lecun_uniform_,
    variance_scaling_,
)
from .truncated import trunc_normal_, truncated_normal_

__all__ = [
    "calculate_gain",
    "constant",
    "constant_",
    "delta_orthogonal_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "fill_",
    "glorot_normal_",
    "glorot_uniform_",
    "he_normal_",
    "he_uniform_",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "lecun_normal_",
    "lecun_uniform_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "truncated_normal_",
    "uniform",
    "uniform_",
    "variance_scaling_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]

_scaling = lru_cache(initlib.variance_scaling)


@overridable
def uniform_(
    tensor: Tensor,
    a: float = 0.0,
    b: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    axes: str | None = None,
    seed: Seed = None,
    name: Name = None,
) -> Tensor:
    """Fill the tensor with the uniform distribution on [a, b].

    >>> uniform_(torch.empty(3, 5), -1.0, 1.0).shape
    torch.Size([3, 5])
    """
    check_bounds(real(a, "a"), real(b, "b"))
    drawn = initlib.uniform(a, b)
    return draw(tensor, drawn, generator, axes, seed, name, part=lambda: drawn)


@overridable
def normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    axes: str | None = None,
    seed: Seed = None,
    name: Name = None,
) -> Tensor:
    """Fill the tensor with the normal distribution of that mean and standard deviation.

    >>> normal_(torch.empty(3, 5), std=0.02).shape
    torch.Size([3, 5])
    """
    if real(std, "std") < 0:  # PyTorch's own error
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    drawn = initlib.normal(mean, std)
    return draw(tensor, drawn, generator, axes, seed, name, part=lambda: initlib.normal(mean, std / math.sqrt(2)))


@overridable
def xavier_uniform_(
    tensor: Tensor,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    axes: str | None = None,
    seed: Seed = None,
    name: Name = None,
) -> Tensor:
    """Fill the tensor with the uniform distribution of std gain * sqrt(2 / (fan_in + fan_out)).

    >>> xavier_uniform_(torch.empty(3, 5), gain=calculate_gain("relu")).shape
    torch.Size([3, 5])

    Glorot, Bengio 2010 (AISTATS).
    """
    return _xavier(tensor, gain, "uniform", generator, axes, seed, name)


@overridable
def xavier_normal_(
    tensor: Tensor,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    axes: str | None = None,
    seed: Seed = None,
    name: Name = None,
) -> Tensor:
    """Fill the tensor with the normal distribution of std gain * sqrt(2 / (fan_in + fan_out)), not truncated.

    >>> xavier_normal_(torch.empty(3, 5)).shape
    torch.Size([3, 5])

    Glorot, Bengio 2010 (AISTATS). `glorot_normal_` is truncated.
    """
    return _xavier(tensor, gain, "normal", generator, axes, seed, name)


def _xavier(tensor: Tensor, gain: float, distribution: str, *stream: Any) -> Tensor:
    if stream[1] is None:
        _calculate_fan_in_and_fan_out(tensor)  # PyTorch's own errors
    return _scale(tensor, positive(gain, "gain", or_zero=True) ** 2, "fan_avg", distribution, *stream)


def _scale(tensor: Tensor, factor: float, mode: str, distribution: str, *stream: Any) -> Tensor:
    """Fill by variance scaling; of a complex weight each part is drawn as PyTorch draws it."""
    share = factor if distribution == "uniform" else factor / 2
    drawn = _scaling(factor, mode, distribution)
    return draw(tensor, drawn, *stream, part=lambda: _scaling(share, mode, distribution))


@overridable
def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
    *,
    axes: str | None = None,
    seed: Seed = None,
    name: Name = None,
) -> Tensor:
    """Fill the tensor with the uniform distribution of std gain / sqrt(fan).

    >>> kaiming_uniform_(torch.empty(3, 5), mode="fan_out", nonlinearity="relu").shape
    torch.Size([3, 5])

    `a` is the negative slope of a leaky_relu. He, Zhang, Ren, Sun 2015, arXiv 1502.01852.
    """
    return _kaiming(tensor, a, mode, nonlinearity, "uniform", generator, axes, seed, name)


@overridable
def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
    *,
    axes: str | None = None,
    seed: Seed = None,
    name: Name = None,
) -> Tensor:
    """Fill the tensor with the normal distribution of std gain / sqrt(fan), not truncated.

    >>> kaiming_normal_(torch.empty(3, 5), mode="fan_out", nonlinearity="relu").shape
    torch.Size([3, 5])

    `a` is the negative slope of a leaky_relu. He, Zhang, Ren, Sun 2015, arXiv 1502.01852. `he_normal_` is truncated.
    """
    return _kaiming(tensor, a, mode, nonlinearity, "normal", generator, axes, seed, name)


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str, distribution: str, *stream: Any) -> Tensor:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=4)
        return tensor
    if stream[1] is None:
        _calculate_correct_fan(tensor, mode)  # type: ignore[arg-type]  # PyTorch's own errors
    gain = calculate_gain(nonlinearity, a if nonlinearity == "leaky_relu" else None)
    exact = {"relu": 2.0, "leaky_relu": 2 / (1 + a**2)}  # the square of a rounded root is not: he_* has the same bits
    factor = exact.get(nonlinearity, gain * gain)
    return _scale(tensor, factor, mode, distribution, *stream)


uniform = _make_deprecate(uniform_)
normal = _make_deprecate(normal_)
eye = _make_deprecate(eye_)
dirac = _make_deprecate(dirac_)
xavier_uniform = _make_deprecate(xavier_uniform_)
xavier_normal = _make_deprecate(xavier_normal_)
kaiming_uniform = _make_deprecate(kaiming_uniform_)
kaiming_normal = _make_deprecate(kaiming_normal_)
orthogonal = _make_deprecate(orthogonal_)
sparse = _make_deprecate(sparse_)

# The names that code bases import all the same.
_no_grad_uniform_ = uniform_
_no_grad_normal_ = normal_
_no_grad_trunc_normal_ = trunc_normal_

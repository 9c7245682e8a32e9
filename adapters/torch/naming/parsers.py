"""Parsers: the initializer that a call of a drawing function of PyTorch requests."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.init import calculate_gain

from initlib import Initializer, normal, truncated_normal, uniform
from initlib._arguments import real

from .._private import calculate_correct_fan

DrawParser = Callable[..., tuple[Tensor, Initializer]]  # from the arguments of a call to the tensor and the initializer


# Making an initializer takes as long as the draw of a small weight. The arguments are floats: a tensor may change.
_make_uniform, _make_normal, _make_truncated = map(lru_cache(maxsize=256), (uniform, normal, truncated_normal))


def truncated(mean: Any, std: Any, low: Any, high: Any) -> Initializer:
    """Return the truncated normal of the arguments of `trunc_normal_`."""
    bounds = real(low, "low", or_infinite=True), real(high, "high", or_infinite=True)
    return _make_truncated(real(mean, "mean"), real(std, "std"), *bounds)


def _uniform(tensor: Tensor, a: float = 0.0, b: float = 1.0, **options: Any) -> tuple[Tensor, Initializer]:
    low, high = options.get("from", a), options.get("to", b)
    return tensor, _make_uniform(real(low, "low"), real(high, "high"))


def _normal(tensor: Tensor, mean: float = 0.0, std: float = 1.0, **options: Any) -> tuple[Tensor, Initializer]:
    return tensor, _make_normal(real(mean, "mean"), real(std, "std"))


def _kaiming_std(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: Any = "leaky_relu") -> float:
    fan = calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan))  # 0 where there are no weights


def _kaiming_uniform(
    tensor: Tensor, *arguments: Any, generator: None = None, **options: Any
) -> tuple[Tensor, Initializer]:
    bound = math.sqrt(3) * _kaiming_std(tensor, *arguments, **options)
    return tensor, _make_uniform(-bound, bound)


def _kaiming_normal(
    tensor: Tensor, *arguments: Any, generator: None = None, **options: Any
) -> tuple[Tensor, Initializer]:
    return tensor, _make_normal(0.0, _kaiming_std(tensor, *arguments, **options))


# Methods that draw into a tensor.
FILLING: dict[Any, DrawParser] = {Tensor.uniform_: _uniform, Tensor.normal_: _normal}
# The functions of `torch.nn.init` that a mode sees, by name, since transformers replaces them by functions of its own.
# All other functions there call one of these, or a method above.
INIT: dict[str, DrawParser] = {
    "uniform_": _uniform,
    "normal_": _normal,
    "kaiming_uniform_": _kaiming_uniform,
    "kaiming_normal_": _kaiming_normal,
}
# Functions that make a tensor of draws.
MAKING: dict[Any, Initializer] = {
    torch.rand: uniform(0.0, 1.0),
    torch.rand_like: uniform(0.0, 1.0),
    torch.randn: normal(),
    torch.randn_like: normal(),
}
# Functions of distributions that the core lacks: a generator of PyTorch draws, seeded by the stream.
SEEDED = {
    *(torch.normal, torch.bernoulli, torch.multinomial, torch.poisson, torch.randint, torch.randperm),
    *(Tensor.random_, Tensor.bernoulli_, Tensor.cauchy_, Tensor.exponential_, Tensor.geometric_, Tensor.log_normal_),
}
IS_META = Tensor.is_meta.__get__  # type: ignore[attr-defined]  # the first call of `trunc_normal_`; see `begun`
DRAWING = {*FILLING, *MAKING, *SEEDED, IS_META}

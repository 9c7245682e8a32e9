"""Parsers: the initializer that a call of a drawing function of PyTorch requests."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.init import calculate_gain

from initlib import Initializer, normal, uniform

from .._private import calculate_correct_fan

DrawParser = Callable[..., tuple[Tensor, Initializer]]  # from the arguments of a call to the tensor and the initializer


def _uniform(tensor: Tensor, a: float = 0.0, b: float = 1.0, **options: Any) -> tuple[Tensor, Initializer]:
    return tensor, uniform(options.get("from", a), options.get("to", b))


def _normal(tensor: Tensor, mean: float = 0.0, std: float = 1.0, **options: Any) -> tuple[Tensor, Initializer]:
    return tensor, normal(mean, std)


def _kaiming_std(tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: Any = "leaky_relu") -> float:
    fan = calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(max(1, fan))  # 0 where there are no weights


def _kaiming_uniform(
    tensor: Tensor, *arguments: Any, generator: None = None, **options: Any
) -> tuple[Tensor, Initializer]:
    bound = math.sqrt(3) * _kaiming_std(tensor, *arguments, **options)
    return tensor, uniform(-bound, bound)


def _kaiming_normal(
    tensor: Tensor, *arguments: Any, generator: None = None, **options: Any
) -> tuple[Tensor, Initializer]:
    return tensor, normal(0.0, _kaiming_std(tensor, *arguments, **options))


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
DRAWING = {*FILLING, *MAKING, *SEEDED}

"""Truncated normals: kept to any window, as PyTorch keeps them, or to 2 std."""

import math
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from initlib.draws.runs import box_index
from initlib.schemes.initializer import Initializer, Weight, real
from initlib.schemes.variance import constant, truncated_normal, uniform

from .draw import Name, Seed, check_bounds, draw, overridable

__all__ = ["trunc_normal_", "truncated_normal_"]

REACH = 64  # sigmas: a bound further out cuts nothing

KNOTS = 8193
FOLDS = 40.0  # how many times the density falls by e before the rest counts for nothing
_RANKS = uniform(0.0, 1.0)


@dataclass(frozen=True)
class Tail(Initializer):
    """A normal distribution kept to [low, high], by interpolating its quantiles: for windows of any mass.

    The stream's own normal resolves windows of at least 2**-12 of the mass; PyTorch takes any.
    """

    mean: float
    sigma: float
    low: float
    high: float
    factory: ClassVar[str] = "trunc_normal_"

    def _knots(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values across the window, and their distribution function."""
        low, high = (self.low - self.mean) / self.sigma, (self.high - self.mean) / self.sigma
        mode = max(low, min(0.0, high))
        # Where (z**2 - mode**2) / 2 is FOLDS; as a sum, since the difference would cancel.
        reach = 2 * FOLDS / (abs(mode) + math.sqrt(mode * mode + 2 * FOLDS))
        z = np.linspace(max(low, mode - reach), min(high, mode + reach), KNOTS)
        density = np.exp((mode - z) * (mode + z) / 2)
        mass = np.append(0.0, np.cumsum(density[1:] + density[:-1]))
        return self.mean + self.sigma * z, mass / mass[-1]

    def std(self, shape: Any, axes: str | None = None) -> float:
        values, mass = self._knots()
        middle, weight = (values[1:] + values[:-1]) / 2, np.diff(mass)
        return math.sqrt(float(weight @ (middle - weight @ middle) ** 2))

    def bounds(self, shape: Any, axes: str | None = None) -> tuple[float, float]:
        return self.low, self.high

    def fill(self, out: NDArray[Any], weight: Weight) -> None:
        index = None if weight.box is None else box_index(weight.box)
        ranks = _RANKS(weight.shape, "float64", axes=weight.axes, seed=weight.key, index=index)
        values, mass = self._knots()
        out[...] = np.interp(ranks, mass, values).clip(self.low, self.high)


@overridable
def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: torch.Generator | None = None,
    *,
    axes: str | None = None,
    seed: Seed = None,
    name: Name = None,
) -> Tensor:
    """Fill the tensor with the normal distribution of that mean and std, kept to the values [a, b].

    >>> float(trunc_normal_(torch.empty(100), std=0.02, a=-0.04, b=0.04).abs().max()) <= 0.04
    True

    `a` and `b` are values, not multiples of std, and std is the one before truncation, as in PyTorch;
    `truncated_normal_` keeps to 2 std.
    """
    mean, std, a, b = real(mean, "mean"), real(std, "std"), float(a), float(b)
    if not tensor.is_meta and (mean < a - 2 * std or mean > b + 2 * std):
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. "
            "The distribution of values may be incorrect.",
            stacklevel=3,
        )
    return draw(tensor, _truncated(mean, std, a, b), generator, axes, seed, name)


def _truncated(mean: float, std: float, a: float, b: float) -> Initializer:
    """The normal distribution kept to any window that PyTorch takes: a far one, a point, no bound at all."""
    check_bounds(a, b)
    if a == b:
        return constant(a)
    low, high = max(a, mean - REACH * std), min(b, mean + REACH * std)
    try:
        return truncated_normal(mean, std, low, high)
    except ValueError:
        if not (std > 0 and a < b):
            raise
        return Tail(mean, std, a, b)


@overridable
def truncated_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    low: float | None = None,
    high: float | None = None,
    generator: torch.Generator | None = None,
    *,
    axes: str | None = None,
    seed: Seed = None,
    name: Name = None,
) -> Tensor:
    """Fill the tensor with the normal distribution kept to [low, high], by default mean - 2 std to mean + 2 std.

    >>> float(truncated_normal_(torch.empty(100), std=0.02).abs().max()) <= 0.04
    True
    """
    return draw(tensor, truncated_normal(mean, std, low, high), generator, axes, seed, name)

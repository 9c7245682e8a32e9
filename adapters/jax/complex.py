"""Complex weights: real draws of streams of their own, made into the distributions that JAX has for them."""

import math
from typing import Any

import jax.numpy as jnp

from initlib import Initializer, uniform
from initlib.schemes.composed import Composed
from initlib.schemes.initializer import Independent
from initlib.schemes.variance import TRUNCATION, Constant, Normal, VarianceScaling

from .traced import JaxEngine, folded, traced

__all__ = ["complex_traced"]

_UNIT = uniform(-1.0, 1.0)  # of mean 0, so that its bits are promised


def complex_traced(
    words: Any, initializer: Initializer, shape: tuple[int, ...], dtype: str, axes: str | None = None
) -> Any:
    """The complex weight whose parts have together the variance asked for.

    normal: two independent normal parts. uniform: a point of a disk. truncated_normal: a normal on the plane, its
    modulus kept to 2 sigma. Orthogonal weights, of such noise, are unitary.
    """
    real = "float64" if dtype == "complex128" else "float32"

    def part(name: str, scheme: Independent) -> Any:
        return traced(folded(words, name), scheme, shape, real, axes)

    if isinstance(initializer, Constant) or 0 in shape:
        return traced(words, initializer, shape, real, axes).astype(dtype)
    if isinstance(initializer, Composed):
        return initializer.compose(shape, axes, real, JaxEngine(words, _noise)).astype(dtype)
    if isinstance(initializer, VarianceScaling) and initializer.distribution != "normal":
        share = (part("modulus", _UNIT) + 1) / 2
        if initializer.distribution == "uniform":
            square = 2 * share  # of mean 1
        else:
            # The squared modulus of a normal is exponential; cut at c, its mean is 1 - c / (e**c - 1).
            cut = TRUNCATION**2
            square = -jnp.log1p(math.expm1(-cut) * share) / (1 - cut / math.expm1(cut))
        modulus = jnp.sqrt(square) * initializer.std(shape, axes)
        return (modulus * jnp.exp(1j * math.pi * part("angle", _UNIT))).astype(dtype)
    if isinstance(initializer, (Normal, VarianceScaling)):
        each = Normal(0.0, initializer.std(shape, axes) / math.sqrt(2))
        mean = getattr(initializer, "mean", 0.0)
        return (part("real", each) + 1j * part("imag", each) + mean).astype(dtype)
    raise ValueError(f"dtype argument to `{initializer.factory}` must be a float dtype, got {dtype}")


def _noise(words: Any, initializer: Initializer, shape: tuple[int, ...], dtype: str, axes: str | None) -> Any:
    """Complex noise where a composed weight asks for real noise."""
    return complex_traced(words, initializer, shape, "complex128" if dtype == "float64" else "complex64", axes)

"""Complex weights: real draws of streams of their own, made into the distributions that JAX has for them."""

import math
from typing import Any

import jax.numpy as jnp

from initlib import Initializer, uniform
from initlib.base import Independent, Indexed, matrices
from initlib.initializers import TRUNCATION, Constant, Normal, VarianceScaling
from initlib.orthogonal import DeltaOrthogonal, Orthogonal, centred

from ._jax_traced import folded, traced

__all__ = ["complex_traced"]

_UNIT = uniform(-1.0, 1.0)  # of mean 0, so that its bits are promised
_STANDARD = Normal(0.0, 1.0)


def complex_traced(
    words: Any, initializer: Initializer, shape: tuple[int, ...], dtype: str, axes: str | None = None
) -> Any:
    """The complex weight whose parts have together the variance asked for.

    normal: two independent normal parts. uniform: a point of a disk. truncated_normal: a normal on the plane, its
    modulus kept to 2 sigma. Orthogonal weights are unitary.
    """
    real = "float64" if dtype == "complex128" else "float32"

    def part(name: str, scheme: Independent, sizes: tuple[int, ...] = shape, axes: str | None = axes) -> Any:
        return traced(folded(words, name), scheme, sizes, real, axes)

    if isinstance(initializer, (Constant, Indexed)) or 0 in shape:
        return traced(words, initializer, shape, real, axes).astype(dtype)
    if isinstance(initializer, (Orthogonal, DeltaOrthogonal)):
        delta = isinstance(initializer, DeltaOrthogonal)
        weight, sizes = initializer.centre(shape, axes) if delta else _whole(initializer, shape, axes)
        noise = part("real", _STANDARD, sizes, None) + 1j * part("imag", _STANDARD, sizes, None)
        matrix = _unitary(noise) * initializer.gain
        return weight.store(centred(matrix, weight, jnp) if delta else matrix).astype(dtype)
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


def _whole(initializer: Orthogonal, shape: tuple[int, ...], axes: str | None) -> Any:
    weight = matrices(initializer, shape, axes)
    return weight, weight.matrices


def _unitary(noise: Any) -> Any:
    """The Q of the QR of complex normal noise, or of its transpose, with the phases of R's diagonal moved into Q."""
    tall = noise.shape[1] >= noise.shape[2]
    q, r = jnp.linalg.qr(noise if tall else jnp.swapaxes(noise, 1, 2))
    diagonal = jnp.diagonal(r, axis1=1, axis2=2)
    q = q * jnp.where(diagonal == 0, 1, jnp.sign(diagonal))[:, None, :]
    return q if tall else jnp.swapaxes(q, 1, 2)

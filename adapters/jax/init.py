"""The names of `jax.nn.initializers`, with the core's draws."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import initlib
from initlib._arguments import positive, real
from initlib._public import public
from initlib.schemes._uniform import HalfOpen
from initlib.schemes._variance import DISTRIBUTIONS, MODES

from .drawing.axes import Delta, Kernel, Matrix, ints
from .drawing.initializer import JaxInitializer, jax_initializer


@public("initlib.adapters.jax")
def initializer(
    core: initlib.Initializer, axes: str | None = None, dtype: Any = None, *, seed: Any = None, name: str | None = None
) -> JaxInitializer:
    """Make any initializer of the core one of JAX's.

    >>> import initlib, jax
    >>> initializer(initlib.siren(), axes="OI")(jax.random.key(0), (64, 3)).shape
    (64, 3)

    `axes`, `dtype`, `seed` and `name` are `JaxInitializer`'s. Raises TypeError or ValueError, naming the argument.
    """
    if not isinstance(core, initlib.Initializer):
        raise TypeError(f"core must be an initlib initializer, such as initlib.orthogonal(), got {core!r}")
    return jax_initializer(core, None, axes, dtype, seed, name)


def _is_open(number: Any) -> bool:
    """Whether no law can be made of a number: it is traced, or an array of several."""
    return isinstance(number, jax.core.Tracer) or np.ndim(number) > 0


def _split(scale: Any, argument: str, *, above: bool = True) -> tuple[float, Any]:
    """A scale as what the core draws with and what multiplies that: traced or an array, it is left to JAX.

    So is a number that is not above 0 where the core takes none.
    """
    if _is_open(scale):
        return 1.0, scale
    number = real(scale, argument)
    return (1.0, number) if above and number <= 0 else (number, None)


@public("initlib.adapters.jax")
def uniform(
    scale: Any = 1e-2, dtype: Any = None, *, axes: str | None = None, seed: Any = None, name: str | None = None
) -> JaxInitializer:
    """Make the initializer of weights uniform in [0, scale).

    >>> import jax
    >>> bool((uniform(0.5)(jax.random.key(0), (2, 3)) < 0.5).all())
    True
    """
    high, factor = _split(scale, "scale")
    return jax_initializer(HalfOpen(0.0, high), None, axes, dtype, seed, name, factor)


@public("initlib.adapters.jax")
def normal(
    stddev: Any = 1e-2, dtype: Any = None, *, axes: str | None = None, seed: Any = None, name: str | None = None
) -> JaxInitializer:
    """Make the initializer of normal weights of mean 0.

    >>> import jax
    >>> normal(0.02)(jax.random.key(0), (2, 3)).shape
    (2, 3)
    """
    std, factor = _split(stddev, "stddev")
    return jax_initializer(initlib.normal(0.0, std), None, axes, dtype, seed, name, factor)


@public("initlib.adapters.jax")
def truncated_normal(
    stddev: Any = 1e-2,
    dtype: Any = None,
    lower: Any = -2.0,
    upper: Any = 2.0,
    *,
    axes: str | None = None,
    seed: Any = None,
    name: str | None = None,
) -> JaxInitializer:
    """Make the initializer of normal weights kept to lower * stddev and upper * stddev.

    >>> import jax
    >>> bool((abs(truncated_normal(0.02)(jax.random.key(0), (2, 3))) <= 0.04).all())
    True

    `stddev` is the one before truncation. The bounds may be infinite, and far out. Where they are traced, or arrays,
    JAX's own initializer draws with the key: other weights, and no others are promised.
    """
    if _is_open(lower) or _is_open(upper):
        theirs = jax.nn.initializers.truncated_normal(stddev, lower=lower, upper=upper)
        return jax_initializer(initlib.truncated_normal(), None, axes, dtype, seed, name, theirs=theirs)
    std, factor = _split(stddev, "stddev")
    low, high = (real(bound, argument, or_infinite=True) for bound, argument in ((lower, "lower"), (upper, "upper")))
    return jax_initializer(
        initlib.truncated_normal(0.0, std, low * std, high * std), None, axes, dtype, seed, name, factor
    )


@public("initlib.adapters.jax")
def variance_scaling(
    scale: Any,
    mode: str,
    distribution: str,
    in_axis: int | Sequence[int] = -2,
    out_axis: int | Sequence[int] = -1,
    batch_axis: int | Sequence[int] = (),
    dtype: Any = None,
    *,
    axes: str | None = None,
    seed: Any = None,
    name: str | None = None,
) -> JaxInitializer:
    """Make the initializer of weights of mean 0 and variance scale / n, n being the fan that `mode` names.

    >>> import jax
    >>> init = variance_scaling(1.0, "fan_avg", "uniform", in_axis=(0, 1), out_axis=2)
    >>> init(jax.random.key(0), (8, 64, 512)).shape
    (8, 64, 512)

    `mode` is fan_in, fan_out, fan_avg or fan_geo_avg; `distribution` truncated_normal, normal or uniform. Axes that
    are in none of `in_axis`, `out_axis` and `batch_axis` are the receptive field; `axes` says all of it in one string.
    Complex weights are of that variance too: on the plane, normal (cut at 2 sigma of the modulus) or uniform on a disk.
    """
    for argument, value, allowed in (
        ("mode", mode, MODES),
        ("distribution", distribution, DISTRIBUTIONS),
    ):
        if value not in allowed:
            allowed_names = ", ".join(allowed)
            raise ValueError(
                f"invalid {argument} for variance scaling initializer: {value}; allowed are {allowed_names}"
            )
    factor, rest = _split(scale, "scale", above=False)
    roles = Kernel(ints(in_axis, "in_axis"), ints(out_axis, "out_axis"), ints(batch_axis, "batch_axis"))
    root = None if rest is None else jnp.sqrt(jnp.asarray(rest, float))
    return jax_initializer(
        initlib.variance_scaling(positive(factor, "scale", or_zero=True), mode, distribution),
        roles,
        axes,
        dtype,
        seed,
        name,
        root,
    )


def _preset(preset_name: str, scheme: Any) -> Any:
    def preset(
        in_axis: int | Sequence[int] = -2,
        out_axis: int | Sequence[int] = -1,
        batch_axis: int | Sequence[int] = (),
        dtype: Any = None,
        *,
        axes: str | None = None,
        seed: Any = None,
        name: str | None = None,
    ) -> JaxInitializer:
        where = (in_axis, out_axis, batch_axis, dtype)
        numbers = (scheme.factor, scheme.mode, scheme.distribution)
        return variance_scaling(*numbers, *where, axes=axes, seed=seed, name=name)

    preset.__name__ = preset.__qualname__ = preset_name
    preset.__doc__ = (
        f"Make the initializer `initlib.{preset_name}`: {scheme!r}. The arguments are `variance_scaling`'s."
    )
    return public("initlib.adapters.jax")(preset)


he_normal = kaiming_normal = _preset("he_normal", initlib.he_normal)
he_uniform = kaiming_uniform = _preset("he_uniform", initlib.he_uniform)
glorot_normal = xavier_normal = _preset("glorot_normal", initlib.glorot_normal)
glorot_uniform = xavier_uniform = _preset("glorot_uniform", initlib.glorot_uniform)
lecun_normal = _preset("lecun_normal", initlib.lecun_normal)
lecun_uniform = _preset("lecun_uniform", initlib.lecun_uniform)


@public("initlib.adapters.jax")
def orthogonal(
    scale: Any = 1.0,
    column_axis: int = -1,
    dtype: Any = None,
    *,
    axes: str | None = None,
    seed: Any = None,
    name: str | None = None,
) -> JaxInitializer:
    """Make the initializer of uniformly distributed orthogonal matrices (unitary ones, where complex), times the scale.

    >>> import jax, jax.numpy as jnp
    >>> weight = orthogonal()(jax.random.key(0), (256, 64))
    >>> bool(jnp.allclose(weight.T @ weight, jnp.eye(64), atol=1e-5))
    True

    The columns lie along `column_axis`; the other axes together are the rows. Saxe et al. 2013, arXiv 1312.6120.
    """
    gain, factor = _split(scale, "scale", above=False)
    roles = Matrix(ints(column_axis, "column_axis"))
    return jax_initializer(initlib.orthogonal(gain), roles, axes, dtype, seed, name, factor)


@public("initlib.adapters.jax")
def delta_orthogonal(
    scale: Any = 1.0,
    column_axis: int = -1,
    dtype: Any = None,
    *,
    axes: str | None = None,
    seed: Any = None,
    name: str | None = None,
) -> JaxInitializer:
    """Make the initializer of kernels of 3 to 5 axes that are orthogonal at their centre and 0 elsewhere.

    >>> import jax
    >>> int((delta_orthogonal()(jax.random.key(0), (3, 3, 16, 32)) != 0).sum()) == 16 * 32
    True

    Inputs by outputs are the last two axes, with no more inputs than outputs: their rows are then orthonormal, and
    `column_axis` changes nothing. Xiao et al. 2018, arXiv 1806.05393.
    """
    gain, factor = _split(scale, "scale", above=False)
    if ints(column_axis, "column_axis") not in (-2, -1, 0, 1):
        raise ValueError(f"column_axis must be one of the two axes of the matrix, got {column_axis!r}")
    return jax_initializer(initlib.delta_orthogonal(gain), Delta(), axes, dtype, seed, name, factor)

"""Names of `jax.nn.initializers`, with the core's draws."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, SupportsFloat, TypedDict, TypeVar, Unpack, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.nn import initializers

# Captured here, so that a program may put the function below in the place of JAX's own.
from jax.nn.initializers import truncated_normal as _jax_truncated_normal
from jax.typing import ArrayLike, DTypeLike

import initlib
from initlib._arguments import positive, real
from initlib._public import public
from initlib.adapters.common.options import show_options
from initlib.key import Seed
from initlib.schemes._uniform import HalfOpen
from initlib.schemes._variance import DISTRIBUTIONS, MODES

from .drawing.axes import AxisArgument, Delta, Kernel, Matrix, ints
from .drawing.initializer import JaxInitializer, jax_initializer
from .drawing.keys import is_key

Factory = TypeVar("Factory", bound=Callable[..., JaxInitializer])

SHARED = """dtype: the dtype for calls without a dtype; None is JAX's default float.
    axes: the roles of the axes, such as "OI" (see `initlib.fans`); None is "...IO".
    seed: an int, a `Key` or a `numpy.random.Generator`. With a seed, the key of a call is ignored.
    name: the name of the parameter. Each name has its own stream under the key, as in every other framework.

Returns:
    An initializer. Call the initializer with (key, shape, dtype, out_sharding).

Raises:
    TypeError: an argument has a wrong type.
    ValueError: an argument has a value that is not allowed."""
AXES = """in_axis: the axis or axes of inputs, as ints.
    out_axis: the axis or axes of outputs.
    batch_axis: the axis or axes of independent kernels. All other axes are the receptive field.
    """


class StreamOptions(TypedDict, total=False):
    """Keyword-only arguments of all factories. JAX's own factories do not have these arguments."""

    axes: str | None
    seed: int | initlib.Key | np.random.Generator | None
    name: str | None


def _factory(function: Factory, **texts: object) -> Factory:
    """Put the texts that all factories share into a docstring, and refuse the call that Flax makes without it."""
    name = function.__name__
    function.__doc__ = inspect.cleandoc(function.__doc__ or "").format(axes=AXES, shared=SHARED, name=name, **texts)

    @functools.wraps(function)
    def checked(*arguments: Any, **keywords: Any) -> JaxInitializer:
        if arguments and is_key(arguments[0]):
            raise TypeError(
                f"{name} must be called before it is passed to a layer, got a random key as its first argument. "
                f"Write {name}(), with parentheses."
            )
        signature.bind(*arguments, **keywords)
        return function(*arguments, **keywords)

    signature = show_options(checked, StreamOptions)
    return cast(Factory, public("initlib.adapters.jax")(checked))


def _without_call(initializer: initializers.Initializer, name: str) -> Any:
    """Return an initializer of JAX that explains the error of a call without arguments."""

    @public("initlib.adapters.jax")
    @functools.wraps(initializer, assigned=("__name__", "__qualname__"))
    def checked(*arguments: Any, **keywords: Any) -> jax.Array:
        """Return an array of {name}. This function is an initializer itself: pass it to a layer without a call.

        Args:
            key: a key of JAX, which is ignored.
            shape: the sizes of the axes.
            dtype: the dtype of the array.
            out_sharding: the sharding of the array.

        Returns:
            The array.

        Raises:
            TypeError: the function is called without arguments.

        Example:
            >>> import jax
            >>> {name}(jax.random.key(0), (2, 3)).shape
            (2, 3)
        """
        if not arguments and not keywords:
            raise TypeError(
                f"{name} must be called with a key and a shape, got no arguments. Write {name}, without parentheses."
            )
        return initializer(*arguments, **keywords)

    checked.__doc__ = (checked.__doc__ or "").format(name=name)
    return checked


zeros = _without_call(initializers.zeros, "zeros")
ones = _without_call(initializers.ones, "ones")


@public("initlib.adapters.jax")
def initializer(
    core: initlib.Initializer,
    axes: str | None = None,
    dtype: DTypeLike | None = None,
    *,
    seed: Seed = None,
    name: str | None = None,
) -> JaxInitializer:
    """Make a JAX initializer from any initializer of `initlib`.

    Args:
        core: an initializer of `initlib`, such as `initlib.siren()`.
        axes: the roles of the axes, such as "OI" (see `initlib.fans`); None is "...IO".
        dtype: the dtype for calls without a dtype; None is JAX's default float.
        seed: an int, a `Key` or a `numpy.random.Generator`. With a seed, the key of a call is ignored.
        name: the name of the parameter. Each name has its own stream under the key, as in every other framework.

    Returns:
        An initializer. Call the initializer with (key, shape, dtype, out_sharding).

    Raises:
        TypeError: `core` is not an initializer of `initlib`.
        ValueError: `axes` is not a valid axes string.

    Example:
        >>> import initlib, jax
        >>> initializer(initlib.siren(), axes="OI")(jax.random.key(0), (64, 3)).shape
        (64, 3)
    """
    if not isinstance(core, initlib.Initializer):
        raise TypeError(f"core must be an initlib initializer, such as initlib.orthogonal(), got {core!r}")
    return jax_initializer(core, None, dtype, axes=axes, seed=seed, name=name)


def _is_open(number: ArrayLike) -> bool:
    """Return whether a number is traced, or an array of several: no distribution can be made of it beforehand."""
    return isinstance(number, jax.core.Tracer) or np.ndim(number) > 0


def _split(scale: ArrayLike, argument: str, *, above: bool = True) -> tuple[float, ArrayLike | None]:
    """Split a scale into the core's argument and a factor that JAX multiplies by.

    JAX multiplies by a traced number, an array, and a number that is not above 0 where the core allows none.
    """
    if _is_open(scale):
        return 1.0, scale
    number = real(cast(SupportsFloat, scale), argument)
    return (1.0, number) if above and number <= 0 else (number, None)


@_factory
def uniform(
    scale: ArrayLike = 1e-2,
    dtype: DTypeLike | None = None,
    **options: Unpack[StreamOptions],
) -> JaxInitializer:
    """Make an initializer that draws from the uniform distribution on [0, scale).

    Args:
        scale: the upper bound. All weights are below this bound.
        {shared}

    Example:
        >>> import jax
        >>> bool((uniform(0.5)(jax.random.key(0), (2, 3)) < 0.5).all())
        True
    """
    high, factor = _split(scale, "scale")
    return jax_initializer(HalfOpen(0.0, high), None, dtype, factor, **options)


@_factory
def normal(
    stddev: ArrayLike = 1e-2,
    dtype: DTypeLike | None = None,
    **options: Unpack[StreamOptions],
) -> JaxInitializer:
    """Make an initializer that draws from the normal distribution of mean 0.

    Args:
        stddev: the standard deviation.
        {shared}

    Example:
        >>> import jax
        >>> normal(0.02)(jax.random.key(0), (2, 3)).shape
        (2, 3)
    """
    std, factor = _split(stddev, "stddev")
    return jax_initializer(initlib.normal(0.0, std), None, dtype, factor, **options)


@_factory
def truncated_normal(
    stddev: ArrayLike = 1e-2,
    dtype: DTypeLike | None = None,
    lower: ArrayLike = -2.0,
    upper: ArrayLike = 2.0,
    **options: Unpack[StreamOptions],
) -> JaxInitializer:
    """Make an initializer of normal weights, truncated to [lower * stddev, upper * stddev].

    Args:
        stddev: the standard deviation before truncation.
        lower: the lower bound in units of `stddev`; may be infinite.
        upper: the upper bound in units of `stddev`; may be infinite. If a bound is traced or an array, JAX's own
            initializer draws, with other bits.
        {shared}

    Example:
        >>> import jax
        >>> bool((abs(truncated_normal(0.02)(jax.random.key(0), (2, 3))) <= 0.04).all())
        True
    """
    if _is_open(lower) or _is_open(upper):
        theirs = _jax_truncated_normal(stddev, lower=lower, upper=upper)
        return jax_initializer(initlib.truncated_normal(), None, dtype, theirs=theirs, **options)
    std, factor = _split(stddev, "stddev")
    low = real(cast(SupportsFloat, lower), "lower", or_infinite=True)
    high = real(cast(SupportsFloat, upper), "upper", or_infinite=True)
    core = initlib.truncated_normal(0.0, std, low * std, high * std)
    return jax_initializer(core, None, dtype, factor, **options)


@_factory
def variance_scaling(
    scale: ArrayLike,
    mode: str,
    distribution: str,
    in_axis: AxisArgument = -2,
    out_axis: AxisArgument = -1,
    batch_axis: AxisArgument = (),
    dtype: DTypeLike | None = None,
    **options: Unpack[StreamOptions],
) -> JaxInitializer:
    """Make an initializer that draws weights of mean 0 and variance scale / fan.

    Complex weights have the same variance. Complex weights are normal on the complex plane (or truncated at a modulus
    of 2 sigma), or uniform on a disk.

    Args:
        scale: the variance times the fan.
        mode: "fan_in", "fan_out", "fan_avg" or "fan_geo_avg".
        distribution: "truncated_normal", "normal" or "uniform".
        {axes}{shared}

    Example:
        >>> import jax
        >>> init = variance_scaling(1.0, "fan_avg", "uniform", in_axis=(0, 1), out_axis=2)
        >>> init(jax.random.key(0), (8, 64, 512)).shape
        (8, 64, 512)
    """
    for argument, value, allowed in (("mode", mode, MODES), ("distribution", distribution, DISTRIBUTIONS)):
        if value not in allowed:
            names = ", ".join(allowed)
            raise ValueError(f"invalid {argument} for variance scaling initializer: {value}; allowed are {names}")
    factor, rest = _split(scale, "scale", above=False)
    roles = Kernel(ints(in_axis, "in_axis"), ints(out_axis, "out_axis"), ints(batch_axis, "batch_axis"))
    root = None if rest is None else jnp.sqrt(jnp.asarray(rest, float))
    core = initlib.variance_scaling(positive(factor, "scale", or_zero=True), mode, distribution)
    return jax_initializer(core, roles, dtype, root, **options)


def _preset(preset_name: str, scheme: Any, reference: str) -> Any:
    def preset(
        in_axis: AxisArgument = -2,
        out_axis: AxisArgument = -1,
        batch_axis: AxisArgument = (),
        dtype: DTypeLike | None = None,
        **options: Unpack[StreamOptions],
    ) -> JaxInitializer:
        """Make the initializer `initlib.{name}`: {scheme}.

        Args:
            {axes}{shared}

        Example:
            >>> import jax
            >>> {name}()(jax.random.key(0), (784, 128)).shape
            (784, 128)

        Reference:
            {reference}
        """
        numbers = (scheme.factor, scheme.mode, scheme.distribution)
        return variance_scaling(*numbers, in_axis, out_axis, batch_axis, dtype, **options)

    preset.__name__ = preset.__qualname__ = preset_name
    return _factory(preset, scheme=scheme, reference=reference)


_HE = "He, Zhang, Ren, Sun. Delving deep into rectifiers. 2015. arXiv:1502.01852."
_GLOROT = "Glorot, Bengio. Understanding the difficulty of training deep feedforward neural networks. 2010."
_LECUN = "LeCun, Bottou, Orr, Müller. Efficient BackProp. 1998."

he_normal = kaiming_normal = _preset("he_normal", initlib.he_normal, _HE)
he_uniform = kaiming_uniform = _preset("he_uniform", initlib.he_uniform, _HE)
glorot_normal = xavier_normal = _preset("glorot_normal", initlib.glorot_normal, _GLOROT)
glorot_uniform = xavier_uniform = _preset("glorot_uniform", initlib.glorot_uniform, _GLOROT)
lecun_normal = _preset("lecun_normal", initlib.lecun_normal, _LECUN)
lecun_uniform = _preset("lecun_uniform", initlib.lecun_uniform, _LECUN)


@_factory
def orthogonal(
    scale: ArrayLike = 1.0,
    column_axis: int = -1,
    dtype: DTypeLike | None = None,
    **options: Unpack[StreamOptions],
) -> JaxInitializer:
    """Make an initializer of uniformly distributed orthogonal matrices, or unitary matrices for a complex dtype.

    Args:
        scale: the factor of the matrix.
        column_axis: the axis of the columns. The other axes together are the rows.
        {shared}

    Example:
        >>> import jax, jax.numpy as jnp
        >>> weight = orthogonal()(jax.random.key(0), (256, 64))
        >>> bool(jnp.allclose(weight.T @ weight, jnp.eye(64), atol=1e-5))
        True

    Reference:
        Saxe, McClelland, Ganguli. Exact solutions to the nonlinear dynamics of learning in deep linear neural networks.
        2013. arXiv:1312.6120.
    """
    gain, factor = _split(scale, "scale", above=False)
    roles = Matrix(ints(column_axis, "column_axis"))
    return jax_initializer(initlib.orthogonal(gain), roles, dtype, factor, **options)


@_factory
def delta_orthogonal(
    scale: ArrayLike = 1.0,
    column_axis: int = -1,
    dtype: DTypeLike | None = None,
    **options: Unpack[StreamOptions],
) -> JaxInitializer:
    """Make an initializer of kernels with an orthogonal matrix at their centre, and 0 elsewhere.

    A kernel has 3 to 5 axes. The last two axes are inputs and outputs, with at most as many inputs as outputs. So the
    rows of the matrix are orthonormal.

    Args:
        scale: the factor of the matrix.
        column_axis: an axis of the matrix, as in JAX. The result does not depend on this argument.
        {shared}

    Example:
        >>> import jax
        >>> int((delta_orthogonal()(jax.random.key(0), (3, 3, 16, 32)) != 0).sum()) == 16 * 32
        True

    Reference:
        Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington. Dynamical isometry and a mean field theory of CNNs. 2018.
        arXiv:1806.05393.
    """
    gain, factor = _split(scale, "scale", above=False)
    if ints(column_axis, "column_axis") not in (-2, -1, 0, 1):
        raise ValueError(f"column_axis must be one of the two axes of the matrix, got {column_axis!r}")
    return jax_initializer(initlib.delta_orthogonal(gain), Delta(), dtype, factor, **options)

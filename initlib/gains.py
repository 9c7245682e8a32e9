"""Gains of activations: factors that keep the mean square of activations from layer to layer."""

import inspect
import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from ._arguments import choice, real
from ._public import public
from .quadrature import root_mean_square

Array = NDArray[np.float64]
Activation = str | Callable[[Array], Any]


def _sigmoid(z: Array) -> Array:
    return np.exp(-np.logaddexp(0.0, -z))


def _elu(z: Array, alpha: float = 1.0) -> Array:
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def _celu(z: Array, alpha: float = 1.0) -> Array:
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0) / alpha))


def _selu(z: Array) -> Array:
    # Klambauer, Unterthiner, Mayr, Hochreiter 2017, arXiv 1706.02515.
    return 1.0507009873554804934193349852946 * _elu(z, 1.6732632423543772848170429916717)


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _gelu(z: Array, approximate: str = "none") -> Array:
    # Hendrycks, Gimpel 2016, arXiv 1606.08415.
    if approximate == "tanh":
        phi = np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)) + 1
    else:
        phi = _erfc(-z / math.sqrt(2))
    gated: Array = z / 2 * phi
    return gated


def _gelu_tanh(z: Array) -> Array:
    return _gelu(z, "tanh")


def _softplus(z: Array, beta: float = 1.0) -> Array:
    return np.logaddexp(0.0, beta * z) / beta


def _mish(z: Array) -> Array:
    return z * np.tanh(np.logaddexp(0.0, z))


def _silu(z: Array, beta: float = 1.0) -> Array:
    return z * _sigmoid(beta * z)


def _relu6(z: Array) -> Array:
    return np.clip(z, 0, 6)


def _hard_sigmoid(z: Array) -> Array:
    return np.clip(z + 3, 0, 6) / 6


def _hard_swish(z: Array) -> Array:
    return z * _hard_sigmoid(z)


def _hard_tanh(z: Array, low: float = -1.0, high: float = 1.0) -> Array:
    return np.clip(z, low, high)


def _relu_squared(z: Array) -> Array:
    return np.maximum(z, 0) ** 2


def _softsign(z: Array) -> Array:
    squashed: Array = z / (1 + np.abs(z))
    return squashed


def _log_sigmoid(z: Array) -> Array:
    return -np.logaddexp(0.0, -z)


def _sin(z: Array, w0: float = 1.0) -> Array:
    return np.sin(w0 * z)


def _identity(z: Array) -> Array:
    return z


def _relu(z: Array) -> Array:
    return np.maximum(z, 0)


def _leaky_relu(z: Array, slope: float = 0.01) -> Array:
    return np.where(z > 0, z, slope * z)


def _prelu(z: Array, slope: float = 0.25) -> Array:
    return _leaky_relu(z, slope)


ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "celu": _celu,
    "elu": _elu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "hardsigmoid": _hard_sigmoid,
    "hardswish": _hard_swish,
    "hardtanh": _hard_tanh,
    "identity": _identity,
    "leaky_relu": _leaky_relu,
    "linear": _identity,
    "logsigmoid": _log_sigmoid,
    "mish": _mish,
    "prelu": _prelu,
    "relu": _relu,
    "relu2": _relu_squared,
    "relu6": _relu6,
    "relu_squared": _relu_squared,
    "selu": _selu,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "sin": _sin,
    "softplus": _softplus,
    "softsign": _softsign,
    "swish": _silu,
    "tanh": np.tanh,
}
# Where f(z) is z above 0 and slope * z below: the mean squares of f and f' are (1 + slope**2) / 2 exactly.
_SLOPES: dict[Callable[..., Array], float | None] = {_identity: 1.0, _relu: 0.0, _leaky_relu: None, _prelu: None}


@public("initlib")
def gain(activation: Activation, *, backward: bool = False, **parameters: str | SupportsFloat) -> float:
    """Compute the gain of an activation f: 1 / sqrt(E[f(z)**2]), where z is standard normal.

    Weights of variance gain**2 / fan_in keep the mean square of activations from layer to layer. Weights of variance
    gain**2 / fan_out, with the backward gain, keep the mean square of gradients.

    Args:
        activation: a name, or an elementwise function of arrays or tensors. The names, with their parameters, are
            celu(alpha=1), elu(alpha=1), gelu(approximate="none" or "tanh"), gelu_tanh, hardsigmoid, hardswish,
            hardtanh(low=-1, high=1), identity or linear, leaky_relu(slope=0.01), logsigmoid, mish, prelu(slope=0.25),
            relu, relu2 or relu_squared, relu6, selu, sigmoid, silu or swish(beta=1), sin(w0=1), softplus(beta=1),
            softsign, tanh.
        backward: True takes the derivative of f in place of f.
        **parameters: parameters of a named activation, as above.

    Returns:
        The gain, with a relative error of about 1e-9.

    Raises:
        TypeError: activation is neither a name nor a function, or f has no such parameter.
        ValueError: the name is unknown, f changes the shape, or the mean square is 0 or infinite (the derivative of a
            jump, for example).

    Example:
        >>> gain("relu") == 2**0.5
        True
        >>> round(gain("gelu"), 10), round(gain("leaky_relu", slope=0.2), 10)
        (1.5335304412, 1.3867504906)
        >>> import numpy as np
        >>> round(gain(lambda z: z * np.tanh(z)), 6)
        1.148674
        >>> from initlib import variance_scaling
        >>> round(variance_scaling(gain("gelu") ** 2).std((784, 128)), 6)
        0.054769

    Reference:
        He, Zhang, Ren, Sun. Delving deep into rectifiers. 2015. arXiv:1502.01852.
    """
    if isinstance(activation, str):
        name, checked = _checked(activation, parameters)
        return _named_gain(name, bool(backward), tuple(sorted(checked.items())))
    return _gain(activation_function(activation, parameters), bool(backward))


def activation_function(activation: Activation, parameters: dict[str, Any]) -> Callable[[Array], Any]:
    """Return the function of NumPy arrays of an activation and its parameters, checked as `gain` checks them."""
    if isinstance(activation, str):
        name, checked = _checked(activation, parameters)
        return partial(ACTIVATIONS[name], **checked)
    if isinstance(activation, type):
        raise TypeError(f"activation must be a name or a function, got a class. Write {activation.__name__}()")
    if not callable(activation):
        raise TypeError(f"activation must be a name or a function of NumPy arrays, got {activation!r}")
    if parameters:
        raise TypeError(
            f"parameters must be given with a named activation only, got {', '.join(parameters)} and a function"
        )
    from ._adapters import numpy_function  # most programs ask for no gain

    function = numpy_function(activation)

    def applied(z: Array) -> Any:
        try:
            return function(z)
        except (TypeError, ValueError) as error:
            advice = "Write operations of arrays: np.maximum(z, 0), not max(z, 0)"
            kind = TypeError if isinstance(error, TypeError) else ValueError  # subclasses take other arguments
            raise kind(f"activation must be a function of NumPy arrays, got {error}. {advice}") from error

    return applied


def _checked(activation: str, parameters: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and the parameters of a named activation, or raise TypeError or ValueError."""
    name = activation.lower()
    if name not in ACTIVATIONS:
        raise ValueError(
            f"activation must be a function or one of {', '.join(sorted(ACTIVATIONS))}, got {activation!r}"
        )
    function = ACTIVATIONS[name]
    allowed = [] if isinstance(function, np.ufunc) else list(inspect.signature(function).parameters)[1:]
    for parameter in parameters:
        if parameter not in allowed:
            raise TypeError(
                f"parameters of activation {name!r} must be {', '.join(allowed) or 'none'}, got {parameter!r}"
            )
    return name, {
        parameter: choice(value, parameter, ("none", "tanh")) if parameter == "approximate" else real(value, parameter)
        for parameter, value in parameters.items()
    }


@lru_cache(maxsize=256)
def _named_gain(name: str, backward: bool, parameters: tuple[tuple[str, Any], ...]) -> float:
    function = ACTIVATIONS[name]
    if function in _SLOPES:
        slope = _SLOPES[function]
        if slope is None:
            slope = dict(parameters).get("slope", inspect.signature(function).parameters["slope"].default)
        return math.sqrt(2 / (1 + slope**2))
    return _gain(lambda z: function(z, **dict(parameters)), backward)


def _gain(function: Callable[[Array], Any], backward: bool) -> float:
    rms = root_mean_square(function, derivative=backward)
    if rms == 0 or math.isinf(rms):
        mean_square = "E f'(z)**2" if backward else "E f(z)**2"
        raise ValueError(
            f"activation must have a mean square {mean_square} that is positive and finite, "
            f"got {'0' if rms == 0 else 'infinity'}"
        )
    return 1 / rms

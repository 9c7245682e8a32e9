"""Gains of activations: factors that keep the mean square of activations from layer to layer."""

import inspect
import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, SupportsFloat

import numpy as np

from ._arguments import choice, real
from ._public import public
from .quadrature import Array, root_mean_square

Activation = str | Callable[[Array], Any]


def _sigmoid(z: Array) -> Array:
    return np.exp(-np.logaddexp(0.0, -z))


def _elu(z: Array, alpha: float = 1.0) -> Array:
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _gelu(z: Array, approximate: str = "none") -> Array:
    # Hendrycks, Gimpel 2016, arXiv 1606.08415.
    if approximate == "tanh":
        phi = np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)) + 1
    else:
        phi = _erfc(-z / math.sqrt(2))
    gated: Array = z / 2 * phi
    return gated


def _silu(z: Array, beta: float = 1.0) -> Array:
    return z * _sigmoid(beta * z)


def _hard_sigmoid(z: Array) -> Array:
    return np.clip(z + 3, 0, 6) / 6


def _relu_squared(z: Array) -> Array:
    return np.maximum(z, 0) ** 2


def _identity(z: Array) -> Array:
    return z


# The slopes of functions f(z) that are z above 0 and slope * z below: the mean squares of f and f' are
# (1 + slope**2) / 2 exactly.
_SLOPES = {"identity": 1.0, "leaky_relu": 0.01, "linear": 1.0, "prelu": 0.25, "relu": 0.0}
ACTIVATIONS: dict[str, Callable[..., Array]] = {
    "celu": lambda z, alpha=1.0: np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0) / alpha)),
    "elu": _elu,
    "gelu": _gelu,
    "gelu_tanh": lambda z: _gelu(z, "tanh"),
    "hardsigmoid": _hard_sigmoid,
    "hardswish": lambda z: z * _hard_sigmoid(z),
    "hardtanh": lambda z, low=-1.0, high=1.0: np.clip(z, low, high),
    "identity": _identity,
    "leaky_relu": lambda z, slope=_SLOPES["leaky_relu"]: np.where(z > 0, z, slope * z),
    "linear": _identity,
    "logsigmoid": lambda z: -np.logaddexp(0.0, -z),
    "mish": lambda z: z * np.tanh(np.logaddexp(0.0, z)),
    "prelu": lambda z, slope=_SLOPES["prelu"]: np.where(z > 0, z, slope * z),
    "relu": lambda z: np.maximum(z, 0),
    "relu2": _relu_squared,
    "relu6": lambda z: np.clip(z, 0, 6),
    "relu_squared": _relu_squared,
    # Klambauer, Unterthiner, Mayr, Hochreiter 2017, arXiv 1706.02515.
    "selu": lambda z: 1.0507009873554804934193349852946 * _elu(z, 1.6732632423543772848170429916717),
    "sigmoid": _sigmoid,
    "silu": _silu,
    "sin": lambda z, w0=1.0: np.sin(w0 * z),
    "softplus": lambda z, beta=1.0: np.logaddexp(0.0, beta * z) / beta,
    "softsign": lambda z: z / (1 + np.abs(z)),
    "swish": _silu,
    "tanh": np.tanh,
}


@public("initlib")
def gain(activation: Activation, *, backward: bool = False, **parameters: str | SupportsFloat) -> float:
    """Compute the gain of an activation f: 1 / sqrt(E f(z)**2), z ~ N(0, 1).

    Weights of variance gain**2 / fan_in keep the mean square of activations from layer to layer. Weights of variance
    gain**2 / fan_out, with the backward gain, keep the mean square of gradients.

    Args:
        activation: a name, or an elementwise function of arrays or tensors. The names and their parameters are
            celu(alpha=1), elu(alpha=1), gelu(approximate="none" or "tanh"), gelu_tanh, hardsigmoid, hardswish,
            hardtanh(low=-1, high=1), identity or linear, leaky_relu(slope=0.01), logsigmoid, mish, prelu(slope=0.25),
            relu, relu2 or relu_squared, relu6, selu, sigmoid, silu or swish(beta=1), sin(w0=1), softplus(beta=1),
            softsign, tanh.
        backward: True takes the derivative of f in place of f.
        **parameters: parameters of a named activation, as above.

    Returns:
        The gain. Functions are integrated to a relative error of 1e-9.

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
    if name in _SLOPES:
        return math.sqrt(2 / (1 + dict(parameters).get("slope", _SLOPES[name]) ** 2))
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

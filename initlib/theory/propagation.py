"""Signal propagation through wide layers: the length of a signal, and the correlation of two signals.

A layer maps x to W f(x) + b, with weights of variance `weight_variance` / fan_in and biases of variance
`bias_variance`. In wide layers, the units of a layer are normally distributed for each input. The *length* q is the
mean square of the units. The *correlation* c of two inputs is the cosine of the angle between the units for both
inputs. q and c of a layer follow from q and c of the layer before, by integrals over normal variables. An activation is
a name with its parameters, or a function of NumPy arrays, as for `initlib.gain`. Sources: Poole et al. 2016,
arXiv:1606.05340; Schoenholz et al. 2017, arXiv:1611.01232.

>>> from initlib import propagation
>>> round(propagation.length_map("relu", 1.0, weight_variance=1.0), 9)  # Glorot's on square layers: halved each time
0.5
>>> print(propagation.describe("tanh", weight_variance=3.0, bias_variance=0.05))
chaotic: lengths settle at 1.43; a small difference grows by 1.21 per layer, and two inputs decorrelate in 9.1 layers
"""

import math
from typing import overload

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import positive
from ..quadrature import Array
from .layer_maps import SAME, SHORT, START, Activation, Correlations, Layer, Value, root
from .phase_diagram import phase_diagram

__all__ = [
    "chi",
    "correlation_map",
    "critical_line",
    "depth_scale",
    "describe",
    "fixed_point",
    "length_map",
    "lengths",
    "phase_diagram",
]

CRITICAL = 1e-6  # the tolerance of chi = 1, for a weight variance that is given to some digits
MOST_VARIED = 1e-3  # a relative error of the length that grows by less than this in a layer counts as stable
GRID = np.logspace(-6, 6, 49)  # the lengths among which a critical one is sought


def length_map(
    activation: Activation, length: float, *, weight_variance: float, bias_variance: float = 0.0, **parameters: Value
) -> float:
    """Return the length after the next layer.

    The length is weight_variance * E[f(sqrt(q) * z)**2] + bias_variance, and z is standard normal.

    Args:
        activation: the name of an activation, or a function of NumPy arrays.
        length: the mean square q of the layer's inputs before the activation, above 0.
        weight_variance: fan_in times the variance of the weights, at least 0. He's initialization has 2.
        bias_variance: the variance of the biases, at least 0.
        **parameters: the parameters of a named activation, such as `slope`.

    Returns:
        The mean square of the next layer's units.

    Raises:
        ValueError: an argument is out of its range, or the name of the activation is unknown.
        TypeError: the activation takes no such parameter.

    Example:
        >>> round(length_map("relu", 3.0, weight_variance=2.0), 9)
        3.0
        >>> round(length_map("leaky_relu", 1.0, weight_variance=2.0, bias_variance=0.1, slope=0.2), 9)
        1.14

    Reference:
        Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli. Exponential expressivity in deep neural networks through
        transient chaos. 2016. arXiv:1606.05340.
    """
    return Layer(activation, weight_variance, bias_variance, parameters).map(positive(length, "length"))


def lengths(
    activation: Activation,
    depth: int,
    *,
    weight_variance: float,
    bias_variance: float = 0.0,
    start: float = START,
    **parameters: Value,
) -> Array:
    """Return the lengths of the first `depth` layers.

    Args:
        activation: the name of an activation, or a function of NumPy arrays.
        depth: the number of layers, at least 0.
        weight_variance: fan_in times the variance of the weights.
        bias_variance: the variance of the biases.
        start: the length at the first layer, above 0.
        **parameters: the parameters of a named activation.

    Returns:
        An array of shape (depth,), whose first number is `start`.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> lengths("relu", 4, weight_variance=1.0).round(9).tolist()
        [1.0, 0.5, 0.25, 0.125]
    """
    layer = Layer(activation, weight_variance, bias_variance, parameters)
    if depth < 0:
        raise ValueError(f"depth must be at least 0, got {depth!r}")
    results = [positive(start, "start")]
    while len(results) < depth:
        results.append(layer.map(results[-1]) if 0 < results[-1] < math.inf else results[-1])
    return np.array(results[:depth])


def fixed_point(
    activation: Activation,
    *,
    weight_variance: float,
    bias_variance: float = 0.0,
    start: float = START,
    **parameters: Value,
) -> float:
    """Return the length that signals reach after many layers: a fixed point of the length map, 0, or infinity.

    Args:
        activation: the name of an activation, or a function of NumPy arrays.
        weight_variance: fan_in times the variance of the weights.
        bias_variance: the variance of the biases.
        start: the length at the first layer, above 0.
        **parameters: the parameters of a named activation.

    Returns:
        The first fixed point that the lengths from `start` reach, or 0, or infinity.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> round(fixed_point("relu", weight_variance=1.0, bias_variance=0.5), 9)
        1.0
        >>> fixed_point("relu", weight_variance=1.9), fixed_point("relu", weight_variance=2.1)
        (0.0, inf)
        >>> fixed_point("relu", weight_variance=2.0, start=7.0)  # He's: every length is kept
        7.0
    """
    return Layer(activation, weight_variance, bias_variance, parameters).settled(positive(start, "start"))


def chi(
    activation: Activation,
    *,
    weight_variance: float,
    bias_variance: float = 0.0,
    length: float | None = None,
    **parameters: Value,
) -> float:
    """Return chi, the growth factor of a small squared difference between two inputs in one layer.

    chi = weight_variance * E[f'(sqrt(q) * z)**2], and z is standard normal.

    A squared gradient grows by the same factor in the backward pass. If chi is below 1, two inputs become equal and
    gradients vanish. If chi is above 1, two inputs separate and gradients explode.

    Args:
        activation: the name of an activation, or a function of NumPy arrays.
        weight_variance: fan_in times the variance of the weights.
        bias_variance: the variance of the biases.
        length: the length q; by default the length after many layers.
        **parameters: the parameters of a named activation.

    Returns:
        The factor per layer.

    Raises:
        ValueError: lengths grow without bound and `length` is not given, or an argument is out of its range.

    Example:
        >>> round(chi("relu", weight_variance=2.0), 9)
        1.0
        >>> round(chi("tanh", weight_variance=0.5, bias_variance=0.1), 3)  # ordered
        0.393

    Reference:
        Schoenholz, Gilmer, Ganguli, Sohl-Dickstein. Deep information propagation. 2017. arXiv:1611.01232.
    """
    layer = Layer(activation, weight_variance, bias_variance, parameters)
    return layer.weights * layer.slope(layer.length(length, "chi"))


@overload
def correlation_map(
    activation: Activation,
    correlation: float,
    *,
    weight_variance: float,
    bias_variance: float = 0.0,
    length: float | None = None,
    **parameters: Value,
) -> float: ...
@overload
def correlation_map(
    activation: Activation,
    correlation: ArrayLike,
    *,
    weight_variance: float,
    bias_variance: float = 0.0,
    length: float | None = None,
    **parameters: Value,
) -> Array: ...
def correlation_map(
    activation: Activation,
    correlation: ArrayLike,
    *,
    weight_variance: float,
    bias_variance: float = 0.0,
    length: float | None = None,
    **parameters: Value,
) -> float | Array:
    """Return the correlation of two inputs after the next layer.

    Args:
        activation: the name of an activation, or a function of NumPy arrays.
        correlation: the correlation of two inputs of equal length, or an array of correlations, in [-1, 1].
        weight_variance: fan_in times the variance of the weights.
        bias_variance: the variance of the biases.
        length: the length of the inputs; by default the length after many layers.
        **parameters: the parameters of a named activation.

    Returns:
        A float, or an array if the argument is an array.

    Raises:
        ValueError: a correlation is outside of [-1, 1], or lengths grow without bound and `length` is not given.

    Example:
        >>> round(correlation_map("relu", 0.0, weight_variance=2.0), 9)  # 1 / pi
        0.318309886
        >>> correlation_map("linear", [-1.0, 0.25], weight_variance=1.0).round(9).tolist()
        [-1.0, 0.25]

    Reference:
        Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli. Exponential expressivity in deep neural networks through
        transient chaos. 2016. arXiv:1606.05340.
    """
    layer = Layer(activation, weight_variance, bias_variance, parameters)
    c = np.asarray(correlation, np.float64)
    if not (np.abs(c) <= 1).all():
        raise ValueError(f"correlation must be from -1 to 1, got {correlation!r}")
    mapped = Correlations(layer, layer.length(length, "the correlation map")).map(c)
    return np.asarray(mapped) if c.ndim else float(mapped)


def depth_scale(
    activation: Activation,
    *,
    weight_variance: float,
    bias_variance: float = 0.0,
    length: float | None = None,
    **parameters: Value,
) -> float:
    """Return the depth scale: the number of layers after which the correlation is e times closer to its fixed point.

    The correlation is that of two inputs. Networks of up to a few depth scales can be trained. If chi is 1, the depth
    scale is infinite.

    Args:
        activation: the name of an activation, or a function of NumPy arrays.
        weight_variance: fan_in times the variance of the weights.
        bias_variance: the variance of the biases.
        length: the length of the inputs; by default the length after many layers.
        **parameters: the parameters of a named activation.

    Returns:
        The depth scale, in layers.

    Raises:
        ValueError: lengths grow without bound and `length` is not given, or an argument is out of its range.

    Example:
        >>> round(depth_scale("tanh", weight_variance=1.0, bias_variance=0.05), 2)
        3.63
        >>> depth_scale("relu", weight_variance=2.0)
        inf

    Reference:
        Schoenholz, Gilmer, Ganguli, Sohl-Dickstein. Deep information propagation. 2017. arXiv:1611.01232.
    """
    layer = Layer(activation, weight_variance, bias_variance, parameters)
    return _depth_scale(layer, layer.length(length, "the depth scale"))


def _depth_scale(layer: Layer, length: float) -> float:
    rate = layer.weights * layer.slope(length)
    if rate > 1 + SAME:
        correlations = Correlations(layer, length)
        rate = correlations.slope(correlations.settled())
    elif rate > 1 - SAME:
        return math.inf
    return -1 / math.log(rate) if rate > 0 else 0.0


@overload
def critical_line(activation: Activation, bias_variance: float = 0.0, **parameters: Value) -> float: ...
@overload
def critical_line(activation: Activation, bias_variance: ArrayLike, **parameters: Value) -> Array: ...
def critical_line(activation: Activation, bias_variance: ArrayLike = 0.0, **parameters: Value) -> float | Array:
    """Return the weight variance at which chi is 1: the border between order and chaos.

    Lengths are stable at this variance. If several variances are critical, the result is the variance with the smallest
    stable length.

    Args:
        activation: the name of an activation, or a function of NumPy arrays.
        bias_variance: the variance of the biases, or an array of variances.
        **parameters: the parameters of a named activation.

    Returns:
        A float, or an array if the argument is an array.

    Raises:
        ValueError: no weight variance is critical.

    Example:
        >>> critical_line("relu")
        2.0
        >>> critical_line("tanh", [0.0, 0.05]).round(6).tolist()
        [1.0, 1.760955]

    Reference:
        Schoenholz, Gilmer, Ganguli, Sohl-Dickstein. Deep information propagation. 2017. arXiv:1611.01232.
    """
    layer = Layer(activation, 1.0, 0.0, parameters)
    variances = np.asarray(bias_variance, np.float64)
    layer.slope(START)  # raises for a function that is no activation
    required = [_required_bias(layer, float(length)) for length in GRID]
    results = [
        _critical(layer, positive(variance, "bias_variance", or_zero=True), required) for variance in variances.flat
    ]
    return np.reshape(results, variances.shape) if variances.ndim else results[0]


def _required_bias(layer: Layer, length: float) -> float:
    """Return the bias variance that keeps a length where chi is 1; it may be negative."""
    try:
        excess = length - layer.square(length) / layer.slope(length)
    except (ValueError, ZeroDivisionError):  # too rough or flat at this length
        return math.nan
    return excess if abs(excess) > SAME * length else 0.0


def _critical(layer: Layer, bias_variance: float, required: list[float]) -> float:
    if bias_variance == 0 and required[0] >= 0 and layer.slope_of_lengths(1e-3) < 1 + CRITICAL:
        return round(1 / layer.slope(SHORT), 9)  # an activation that is 0 at 0 is critical for the shortest signals
    for low, high, before, after in zip(GRID, GRID[1:], required, required[1:], strict=False):
        if (before - bias_variance) * (after - bias_variance) < 0:
            log = root(lambda x: _required_bias(layer, math.exp(x)) - bias_variance, math.log(low), math.log(high))
            at = math.exp(log)
            if layer.slope_of_lengths(at) * (1 - bias_variance / at) < 1 + CRITICAL:  # errors of the length do not grow
                return 1 / layer.slope(at)
    raise ValueError(
        _instability(layer)
        or f"no weight variance keeps small differences at a stable length when bias_variance is {bias_variance:g}"
    )


def _instability(layer: Layer) -> str | None:
    """Describe an activation whose errors of the length grow at any variances; None for others."""
    with np.errstate(over="ignore"):
        powers = [layer.slope_of_lengths(float(q)) for q in np.logspace(-4, 4, 9)]
    least = min(powers)
    if least <= 1 + MOST_VARIED:
        return None
    return (
        f"no scale is stable: without biases, at any weight variance, a length that is 1% too large is "
        f"{100 * (1.01**least - 1):.2g}% too large after one layer and {100 * (1.01 ** (least**5) - 1):.2g}% too large "
        "after five layers"
    )


def describe(
    activation: Activation, *, weight_variance: float | None = None, bias_variance: float = 0.0, **parameters: Value
) -> str:
    """Describe the effect of depth on signals in one sentence.

    Args:
        activation: the name of an activation, or a function of NumPy arrays.
        weight_variance: fan_in times the variance of the weights; by default the critical variance.
        bias_variance: the variance of the biases.
        **parameters: the parameters of a named activation.

    Returns:
        With `weight_variance`, a sentence that begins with "vanishing", "exploding", "critical", "ordered" or
        "chaotic". Without `weight_variance`, the critical variance and then this sentence, or the reason why no weight
        variance is critical.

    Raises:
        ValueError: a variance is below 0, or the name of the activation is unknown.

    Example:
        >>> print(describe("relu", weight_variance=1.0))
        vanishing: a length of 1 is 0.5 one layer later, and later lengths shrink to 0
        >>> import numpy as np
        >>> print(describe(lambda z: np.maximum(z, 0) ** 3))
        no scale is stable: without biases, at any weight variance, a length that is 1% too large is 3% too large after
        one layer and 1e+03% too large after five layers
    """
    if weight_variance is None:
        try:
            weight_variance = critical_line(activation, bias_variance, **parameters)
        except ValueError as error:
            return str(error)
        then = describe(activation, weight_variance=weight_variance, bias_variance=bias_variance, **parameters)
        return f"at the critical weight variance, {weight_variance:.6g}: {then}"
    layer = Layer(activation, weight_variance, bias_variance, parameters)
    length = layer.settled(START)
    if length in (0.0, math.inf):
        first = f"a length of 1 is {layer.map(START):.3g} one layer later"
        if length == 0 and abs(layer.weights * layer.slope(SHORT) - 1) < CRITICAL:
            return f"critical: chi is 1; {first}, and later lengths shrink slowly"
        word, way = ("vanishing", "shrink to 0") if length == 0 else ("exploding", "grow without bound")
        return f"{word}: {first}, and later lengths {way}"
    rate = layer.weights * layer.slope(length)
    if abs(rate - 1) < CRITICAL:
        return f"critical: chi is 1 at length {length:.3g}: small differences and gradients keep their size"
    word, way, end = ("chaotic", "grows", "decorrelate") if rate > 1 else ("ordered", "shrinks", "become equal")
    return (
        f"{word}: lengths settle at {length:.3g}; a small difference {way} by {rate:.3g} per layer, "
        f"and two inputs {end} in {_depth_scale(layer, length):.2g} layers"
    )

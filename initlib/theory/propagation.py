"""How signals pass through wide layers: what becomes of their length and of the angle between two of them.

A layer maps x to W f(x) + b, with weights of variance `weight_variance` / fan_in and biases of variance
`bias_variance`. Where layers are wide, the units of one input are normal; their mean square, the *length* q, and the
*correlation* c of two inputs follow from those of the layer before by integrals over normal variables (Poole et al.
2016, arXiv 1606.05340; Schoenholz et al. 2017, arXiv 1611.01232). An activation is a name with its parameters, or any
function of NumPy arrays, as for `initlib.gain`.

>>> from initlib import propagation
>>> round(propagation.length_map("relu", 1.0, weight_variance=1.0), 9)  # Glorot's on square layers: halved each time
0.5
>>> print(propagation.describe("tanh", weight_variance=3.0, bias_variance=0.05))
chaotic: lengths settle at 1.43; a small difference grows by 1.21 a layer, and two inputs decorrelate within 9.1 layers
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import positive
from ..gains import activation_function
from ..quadrature import root_mean_square
from .hermite import HermiteSeries

Array = NDArray[np.float64]
Activation = str | Callable[[Any], Any]

START = 1.0  # the length that depth begins with
SAME = 1e-9  # relative differences below this are the quadrature's
SHORT = 1e-20  # the length at which the limit of short signals is taken
REACH = 1e30  # lengths beyond it, or below its inverse, are infinite, or 0
CRITICAL = 1e-6  # of a weight variance that is given to some digits
MOST_VARIED = 1e-3  # a length that errs by less than this much more a layer is as good as stable
GRID = np.logspace(-6, 6, 49)  # the lengths among which a critical one is sought


class _Layer:
    """One kind of layer: an activation and two variances."""

    def __init__(self, activation: Activation, weights: Any, biases: Any, parameters: dict[str, Any]) -> None:
        self.function = activation_function(activation, parameters)
        self.weights = positive(weights, "weight_variance", or_zero=True)
        self.biases = positive(biases, "bias_variance", or_zero=True)

    def square(self, length: float) -> float:
        """E f(sqrt(q) z)**2."""
        scale = math.sqrt(length)
        return root_mean_square(lambda z: self.function(scale * z)) ** 2

    def slope(self, length: float) -> float:
        """E f'(sqrt(q) z)**2."""
        scale = math.sqrt(length)
        return (root_mean_square(lambda z: self.function(scale * z), derivative=True) / scale) ** 2

    def map(self, length: float) -> float:
        return self.biases + (self.weights * self.square(length) if self.weights else 0.0)

    def settled(self, start: float) -> float:
        """The length that depth leads to."""

        def growth(x: float) -> float:
            mapped = self.map(math.exp(x))
            return math.log(mapped) - x if 0 < mapped < math.inf else math.copysign(math.inf, mapped - 1)

        x = math.log(start)
        first = growth(x)
        if abs(first) < SAME:
            return start
        step = math.copysign(math.log(4), first)
        while True:
            if abs(x + step) > math.log(REACH):
                return math.inf if step > 0 else 0.0
            there = growth(x + step)
            if abs(there) < SAME and abs(growth(x + 1.1 * step)) < SAME:  # no longer told from keeping every length
                return math.inf if step > 0 else 0.0
            if first * there <= 0:
                found = math.exp(_root(growth, x, x + step))
                # Without biases the shortest signals are kept or not by their slope alone, which is known to SAME.
                return found if self.biases or found > SAME * start else 0.0
            x += step

    def slope_of_lengths(self, length: float) -> float:
        """How much longer, relatively, the next length is for one that is longer by a small part."""
        step = 1e-4
        longer, shorter = self.map(length * math.exp(step)), self.map(length * math.exp(-step))
        return math.log(longer / shorter) / (2 * step)


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where the function changes its sign, by halving."""
    sign = function(low) > 0
    for _ in range(100):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if (function(middle) > 0) == sign:
            low = middle
        else:
            high = middle
    return (low + high) / 2


class _Correlations:
    """The correlation map of a layer at one length."""

    def __init__(self, layer: _Layer, length: float) -> None:
        scale = math.sqrt(length)
        self.series = HermiteSeries(lambda z: layer.function(scale * z))
        self.weights, self.biases = layer.weights, layer.biases
        self.length = float(self.weights * self.series(1.0) + self.biases)
        if self.length == 0:
            raise ValueError("every signal is 0 at these variances: there is nothing to correlate")

    def map(self, correlation: Any) -> Any:
        return (self.weights * self.series(correlation) + self.biases) / self.length

    def slope(self, correlation: float) -> float:
        return self.weights * self.series.slope(correlation) / self.length

    def settled(self) -> float:
        """The correlation below 1 that depth leads to: the map is convex, so there is at most one."""
        return 0.0 if self.map(0.0) < SAME else _root(lambda c: float(self.map(c)) - c, 0.0, 1 - SAME)


def length_map(
    activation: Activation, length: float, *, weight_variance: float, bias_variance: float = 0.0, **parameters: Any
) -> float:
    """The mean square of the next layer's units: weight_variance E f(sqrt(q) z)**2 + bias_variance, z ~ N(0, 1).

    >>> round(length_map("relu", 3.0, weight_variance=2.0), 9)
    3.0
    >>> round(length_map("leaky_relu", 1.0, weight_variance=2.0, bias_variance=0.1, slope=0.2), 9)
    1.14

    `weight_variance` is fan_in times the variance of the weights: 2 for He's. Raises ValueError for a length that is
    not above 0 or a variance below 0, and what `initlib.gain` raises for an activation.
    Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli 2016, arXiv 1606.05340.
    """
    return _Layer(activation, weight_variance, bias_variance, parameters).map(positive(length, "length"))


def lengths(
    activation: Activation,
    depth: int,
    *,
    weight_variance: float,
    bias_variance: float = 0.0,
    start: float = START,
    **parameters: Any,
) -> Array:
    """The lengths of `depth` layers in turn, the first of which is `start`: what a picture of signals is compared with.

    >>> lengths("relu", 4, weight_variance=1.0).round(9).tolist()
    [1.0, 0.5, 0.25, 0.125]
    """
    layer = _Layer(activation, weight_variance, bias_variance, parameters)
    if depth < 0:
        raise ValueError(f"depth must be at least 0, got {depth!r}")
    found = [positive(start, "start")]
    while len(found) < depth:
        found.append(layer.map(found[-1]) if 0 < found[-1] < math.inf else found[-1])
    return np.array(found[:depth])


def fixed_point(
    activation: Activation,
    *,
    weight_variance: float,
    bias_variance: float = 0.0,
    start: float = START,
    **parameters: Any,
) -> float:
    """The length that depth leads to, from `start`: the next one that the length map keeps, or 0, or infinity.

    >>> round(fixed_point("relu", weight_variance=1.0, bias_variance=0.5), 9)
    1.0
    >>> fixed_point("relu", weight_variance=1.9), fixed_point("relu", weight_variance=2.1)
    (0.0, inf)
    >>> fixed_point("relu", weight_variance=2.0, start=7.0)  # He's: every length is kept
    7.0
    """
    return _Layer(activation, weight_variance, bias_variance, parameters).settled(positive(start, "start"))


def _length(layer: _Layer, length: float | None, needed_for: str) -> float:
    """The length to look at: the one given, else the one that depth leads to."""
    if length is not None:
        return positive(length, "length")
    found = layer.settled(START)
    if math.isinf(found):
        raise ValueError(f"{needed_for} needs a length: they grow without bound at these variances; give length=")
    # At length 0 activations are linear: what holds there is the limit of short signals.
    return found or SHORT


def chi(
    activation: Activation,
    *,
    weight_variance: float,
    bias_variance: float = 0.0,
    length: float | None = None,
    **parameters: Any,
) -> float:
    """How many times a small squared difference of two inputs grows a layer, and a squared gradient backwards.

    >>> round(chi("relu", weight_variance=2.0), 9)
    1.0
    >>> round(chi("tanh", weight_variance=0.5, bias_variance=0.1), 3)  # ordered
    0.393

    That is weight_variance E f'(sqrt(q) z)**2, at the `length` q, by default the one that depth leads to. Below 1 two
    inputs become one and gradients vanish, above 1 they part and gradients explode. Raises ValueError where lengths
    grow without bound and none is given. Schoenholz, Gilmer, Ganguli, Sohl-Dickstein 2017, arXiv 1611.01232.
    """
    layer = _Layer(activation, weight_variance, bias_variance, parameters)
    return layer.weights * layer.slope(_length(layer, length, "chi"))


def correlation_map(
    activation: Activation,
    correlation: ArrayLike,
    *,
    weight_variance: float,
    bias_variance: float = 0.0,
    length: float | None = None,
    **parameters: Any,
) -> Any:
    """The correlation, in the next layer, of two inputs of equal length whose correlation is this one.

    >>> round(correlation_map("relu", 0.0, weight_variance=2.0), 9)  # 1 / pi
    0.318309886
    >>> correlation_map("linear", [-1.0, 0.25], weight_variance=1.0).round(9).tolist()
    [-1.0, 0.25]

    An array of correlations gives an array. `length` is by default the one that depth leads to. Raises ValueError for
    a correlation outside of [-1, 1], and where lengths grow without bound and none is given.
    Poole et al. 2016, arXiv 1606.05340.
    """
    layer = _Layer(activation, weight_variance, bias_variance, parameters)
    c = np.asarray(correlation, np.float64)
    if not (np.abs(c) <= 1).all():
        raise ValueError(f"correlation must be from -1 to 1, got {correlation!r}")
    mapped = _Correlations(layer, _length(layer, length, "the correlation map")).map(c)
    return mapped if c.ndim else float(mapped)


def depth_scale(
    activation: Activation,
    *,
    weight_variance: float,
    bias_variance: float = 0.0,
    length: float | None = None,
    **parameters: Any,
) -> float:
    """Over how many layers the correlation of two inputs comes e times closer to where depth leads it.

    >>> round(depth_scale("tanh", weight_variance=1.0, bias_variance=0.05), 2)
    3.63
    >>> depth_scale("relu", weight_variance=2.0)
    inf

    Networks train to a few times this depth (Schoenholz et al. 2017, arXiv 1611.01232). It is infinite where chi is 1.
    """
    layer = _Layer(activation, weight_variance, bias_variance, parameters)
    at = _length(layer, length, "the depth scale")
    rate = layer.weights * layer.slope(at)
    if rate > 1 + SAME:
        correlations = _Correlations(layer, at)
        rate = correlations.slope(correlations.settled())
    elif rate > 1 - SAME:
        return math.inf
    return -1 / math.log(rate) if rate > 0 else 0.0


def critical_line(activation: Activation, bias_variance: ArrayLike = 0.0, **parameters: Any) -> Any:
    """The weight variance at which chi is 1, for a bias variance, or an array of them: between order and chaos.

    >>> critical_line("relu")
    2.0
    >>> critical_line("tanh", [0.0, 0.05]).round(6).tolist()
    [1.0, 1.760955]

    Lengths are stable there, and among several it is the one of the least length. Raises ValueError, in a sentence,
    where there is none.
    Schoenholz et al. 2017, arXiv 1611.01232.
    """
    layer = _Layer(activation, 1.0, 0.0, parameters)
    variances = np.asarray(bias_variance, np.float64)
    layer.slope(START)  # raises for what is no activation
    needed = [_needed(layer, float(length)) for length in GRID]
    found = [_critical(layer, positive(variance, "bias_variance", or_zero=True), needed) for variance in variances.flat]
    return np.reshape(found, variances.shape) if variances.ndim else found[0]


def _needed(layer: _Layer, length: float) -> float:
    """The bias variance that keeps a length where chi is 1: it may be below 0, and what is within the errors is 0."""
    try:
        excess = length - layer.square(length) / layer.slope(length)
    except (ValueError, ZeroDivisionError):  # too rough at this length, or flat: no length to look at
        return math.nan
    return excess if abs(excess) > SAME * length else 0.0


def _critical(layer: _Layer, bias_variance: float, needed: list[float]) -> float:
    if bias_variance == 0 and needed[0] >= 0 and layer.slope_of_lengths(1e-3) < 1 + CRITICAL:
        return round(1 / layer.slope(SHORT), 9)  # of an activation that is 0 at 0: critical for the shortest signals
    for low, high, before, after in zip(GRID, GRID[1:], needed, needed[1:], strict=False):
        if (before - bias_variance) * (after - bias_variance) < 0:
            at = math.exp(_root(lambda x: _needed(layer, math.exp(x)) - bias_variance, math.log(low), math.log(high)))
            # One that is longer must not become longer still.
            if layer.slope_of_lengths(at) * (1 - bias_variance / at) < 1 + CRITICAL:
                return 1 / layer.slope(at)
    raise ValueError(
        _never_stable(layer)
        or f"no weight variance keeps small differences at a stable length when bias_variance is {bias_variance:g}"
    )


def _never_stable(layer: _Layer) -> str | None:
    """What to say of an activation whose length errs more with every layer, whatever the variances; else None."""
    with np.errstate(over="ignore"):
        powers = [layer.slope_of_lengths(float(q)) for q in np.logspace(-4, 4, 9)]
    least = min(powers)
    if least <= 1 + MOST_VARIED:
        return None
    return (
        f"no scale is stable: a length that is 1% too large is {100 * (1.01**least - 1):.2g}% too large a layer later "
        f"and {100 * (1.01 ** (least**5) - 1):.2g}% after five, at any weight variance without biases"
    )


def describe(
    activation: Activation, *, weight_variance: float | None = None, bias_variance: float = 0.0, **parameters: Any
) -> str:
    """Say in a sentence what depth does to signals; without a weight variance, at the critical one.

    >>> print(describe("relu", weight_variance=1.0))
    vanishing: a length of 1 is 0.5 a layer later, and the next ones shrink to 0
    >>> import numpy as np
    >>> print(describe(lambda z: np.maximum(z, 0) ** 3))
    no scale is stable: a length that is 1% too large is 3% too large a layer later and 1e+03% after five, at any weight
    variance without biases
    """
    if weight_variance is None:
        try:
            weight_variance = critical_line(activation, bias_variance, **parameters)
        except ValueError as error:
            return str(error)
        then = describe(activation, weight_variance=weight_variance, bias_variance=bias_variance, **parameters)
        return f"at the critical weight variance, {weight_variance:.6g}: {then}"
    layer = _Layer(activation, weight_variance, bias_variance, parameters)
    found = layer.settled(START)
    if found in (0.0, math.inf):
        first = f"a length of 1 is {layer.map(START):.3g} a layer later"
        if found == 0 and abs(layer.weights * layer.slope(SHORT) - 1) < CRITICAL:
            return f"critical: chi is 1; {first}, and the next ones shrink slowly"
        word, way = ("vanishing", "shrink to 0") if found == 0 else ("exploding", "grow without bound")
        return f"{word}: {first}, and the next ones {way}"
    rate = layer.weights * layer.slope(found)
    if abs(rate - 1) < CRITICAL:
        return f"critical: chi is 1 at length {found:.3g}: small differences and gradients keep their size"
    scale = depth_scale(activation, weight_variance=weight_variance, bias_variance=bias_variance, **parameters)
    word, way, end = ("chaotic", "grows", "decorrelate") if rate > 1 else ("ordered", "shrinks", "become one")
    return (
        f"{word}: lengths settle at {found:.3g}; a small difference {way} by {rate:.3g} a layer, "
        f"and two inputs {end} within {scale:.2g} layers"
    )


def phase_diagram(
    activation: Activation,
    *,
    weight_variance: tuple[float, float] = (0.0, 4.0),
    bias_variance: tuple[float, float] = (0.0, 0.5),
    **parameters: Any,
) -> Any:
    """Draw chi over the weight variance and the bias variance, given as ranges: a matplotlib `Figure`.

    >>> figure = phase_diagram("tanh", bias_variance=(0.0, 0.2))  # doctest: +SKIP
    >>> figure.savefig("phases.png")  # doctest: +SKIP

    The line of chi = 1 parts the ordered phase, where gradients vanish, from the chaotic one, where they explode.
    Raises ImportError without matplotlib, and ValueError for a range that is not two numbers, the lower first.
    """
    from ..diagnostics.pictures import phases  # the only thing here that needs matplotlib

    layer = _Layer(activation, 1.0, 0.0, parameters)
    ranges = []
    for given, argument in ((weight_variance, "weight_variance"), (bias_variance, "bias_variance")):
        low, high = (positive(end, argument, or_zero=True) for end in given)
        if not low < high:
            raise ValueError(f"{argument} must be a range, the lower end first, got {given!r}")
        ranges.append(np.linspace(low, high, 121))
    weights, biases = np.meshgrid(*ranges)
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", "the activation")
    return phases(weights, biases, _rates(layer, weights, biases), name)


def _rates(layer: _Layer, weights: Array, biases: Array) -> Array:
    """chi at many variances, read off one table of lengths; infinite where lengths grow without bound."""
    q = np.geomspace(1e-6, 1e6, 241)
    square, slope = (np.array([measure(float(length)) for length in q]) for measure in (layer.square, layer.slope))
    with np.errstate(divide="ignore"):
        growth = np.log(weights[..., None] * square + biases[..., None]) - np.log(q)
    start, grows = int(np.searchsorted(q, START)), growth > SAME
    # The lengths between which depth leads: upwards to the first that does not grow, or downwards to one that does.
    low = np.where(
        grows[..., start], start - 1 + (~grows[..., start:]).argmax(-1), start - grows[..., start::-1].argmax(-1)
    )
    unbounded, vanishing = grows[..., start:].all(-1), ~grows[..., : start + 1].any(-1)
    low = np.where(vanishing, 0, np.minimum(low, q.size - 2))
    before, after = (np.take_along_axis(growth, at[..., None], -1)[..., 0] for at in (low, low + 1))
    with np.errstate(all="ignore"):
        share = np.where(vanishing, 0.0, before / (before - after))
    return np.where(unbounded, np.inf, weights * (slope[low] + share * (slope[low + 1] - slope[low])))

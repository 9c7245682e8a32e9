"""Maps of one wide layer: from length to length, and from correlation to correlation."""

import math
from collections.abc import Callable
from typing import Any

from .._arguments import positive
from ..gains import activation_function
from ..quadrature import root_mean_square
from .hermite import HermiteSeries

Activation = str | Callable[[Any], Any]
Value = float | str  # of a parameter of an activation

START = 1.0  # the length at the first layer
SAME = 1e-9  # relative differences below this are errors of the quadrature
SHORT = 1e-20  # the length at which the limit of short signals is taken
REACH = 1e30  # lengths beyond it count as infinite, lengths below its inverse as 0


class Layer:
    """A kind of layer: an activation, a weight variance and a bias variance."""

    def __init__(
        self, activation: Activation, weight_variance: float, bias_variance: float, parameters: dict[str, Value]
    ) -> None:
        self.function = activation_function(activation, parameters)
        self.weights = positive(weight_variance, "weight_variance", or_zero=True)
        self.biases = positive(bias_variance, "bias_variance", or_zero=True)

    def square(self, length: float) -> float:
        """Return E f(sqrt(q) z)**2."""
        scale = math.sqrt(length)
        return root_mean_square(lambda z: self.function(scale * z)) ** 2

    def slope(self, length: float) -> float:
        """Return E f'(sqrt(q) z)**2."""
        scale = math.sqrt(length)
        return (root_mean_square(lambda z: self.function(scale * z), derivative=True) / scale) ** 2

    def map(self, length: float) -> float:
        """Return the length after the next layer."""
        return self.biases + (self.weights * self.square(length) if self.weights else 0.0)

    def settled(self, start: float) -> float:
        """Return the length to which many layers lead."""

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
            # Growth within the errors of the quadrature at two lengths: no fixed point lies beyond.
            if abs(there) < SAME and abs(growth(x + 1.1 * step)) < SAME:
                return math.inf if step > 0 else 0.0
            if first * there <= 0:
                fixed = math.exp(root(growth, x, x + step))
                # Without biases, only the slope at 0 decides about the shortest signals, and its error is SAME.
                return fixed if self.biases or fixed > SAME * start else 0.0
            x += step

    def slope_of_lengths(self, length: float) -> float:
        """Return the relative growth of the next length for a length that is larger by a small factor."""
        step = 1e-4
        longer, shorter = self.map(length * math.exp(step)), self.map(length * math.exp(-step))
        return math.log(longer / shorter) / (2 * step)

    def length(self, length: float | None, quantity: str) -> float:
        """Return the given length, or the length to which many layers lead. The error names the `quantity`."""
        if length is not None:
            return positive(length, "length")
        settled = self.settled(START)
        if math.isinf(settled):
            raise ValueError(
                f"length must be given for {quantity}: lengths grow without bound at these variances. Pass length="
            )
        return settled or SHORT  # at length 0 the limit of short signals holds, for which activations are linear


class Correlations:
    """Correlation map of a layer at one length."""

    def __init__(self, layer: Layer, length: float) -> None:
        scale = math.sqrt(length)
        self.series = HermiteSeries(lambda z: layer.function(scale * z))
        self.weights, self.biases = layer.weights, layer.biases
        self.length = float(self.weights * self.series(1.0) + self.biases)
        if self.length == 0:
            raise ValueError("weight_variance and bias_variance must not make all signals 0. Pass larger variances")

    def map(self, correlation: Any) -> Any:
        """Return the correlation after the next layer."""
        return (self.weights * self.series(correlation) + self.biases) / self.length

    def slope(self, correlation: float) -> float:
        """Return the derivative of the map."""
        return self.weights * self.series.slope(correlation) / self.length

    def settled(self) -> float:
        """Return the fixed point below 1: the map is convex, so there is at most one."""
        return 0.0 if self.map(0.0) < SAME else root(lambda c: float(self.map(c)) - c, 0.0, 1 - SAME)


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return the place where the function changes its sign, by bisection."""
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

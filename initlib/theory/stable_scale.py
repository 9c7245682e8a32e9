"""Weight variances at which a network of some depth keeps its signals and its gradients."""

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache

import numpy as np

from ..quadrature import Array
from .layer_maps import Layer

LENGTHS = np.geomspace(1e-8, 1e8, 97)
VARIANCES = np.geomspace(0.05, 20.0, 300)


@lru_cache(maxsize=32)
def _tables(activation: str) -> tuple[Array, Array]:
    """Return E f(sqrt(q) z)**2 and E f'(sqrt(q) z)**2 for the lengths q in `LENGTHS`."""
    layer = Layer(activation, 1.0, 0.0, {})
    return _table(layer.square), _table(layer.slope)


def _table(measure: Callable[[float], float]) -> Array:
    """Return a quantity for each of the lengths; nan where the activation is too rough for the quadrature."""
    values = np.full(LENGTHS.shape, np.nan)
    for k, length in enumerate(LENGTHS.tolist()):
        with suppress(ValueError):
            values[k] = measure(length)
    return values


def stable_scale(activation: str, depth: int, factor: float) -> tuple[float, float] | None:
    """Return the least and the greatest weight variance that keeps signals; None if no weight variance does.

    Over the depth, the std of the signal and the norm of the gradient may shrink or grow by the factor. Biases are 0.

    >>> low, high = stable_scale("relu", 40, 100.0)
    >>> 1.6 < low < 2.0 < high < 2.6
    True
    """
    square, slope = _tables(activation)
    logs = np.log(LENGTHS)
    length, gradient = np.zeros_like(VARIANCES), np.zeros_like(VARIANCES)  # logarithms
    most = 2 * np.log(factor)
    stable = np.ones(VARIANCES.shape, bool)
    for _ in range(depth):
        gradient += np.log(VARIANCES) + np.interp(length, logs, np.log(slope))
        length = np.log(VARIANCES) + np.interp(length, logs, np.log(square))
        length = np.clip(length, logs[0], logs[-1])
        stable &= (np.abs(length) < most) & (np.abs(gradient) < most)
    kept = VARIANCES[stable]
    return (float(kept[0]), float(kept[-1])) if kept.size else None

"""Mean squares of a function of a standard normal, and of its derivative, whatever its kinks and jumps."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array], Any]

RANGE = 40.0  # sigmas: what lies beyond is below 1e-340
FIRST = 160  # intervals to begin with
NODES = 20
MOST = 2_000_000  # evaluations
# What one interval may change by when it is halved, in units of the result and of the function's own precision:
# differentiation at the nodes loses some 10 bits.
TOLERANCE = 4096
FINEST = 2.0**-200  # an interval narrower than this is not halved any more, even at 0


@lru_cache(maxsize=8)  # importing numpy.polynomial takes longer than the rest of `import initlib`
def gauss_legendre(nodes: int) -> tuple[Array, Array]:
    """The nodes and weights of Gauss and Legendre's rule on [-1, 1]."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    return x, w


@lru_cache(maxsize=1)
def _rule() -> tuple[Array, Array, Array]:
    """The rule of every interval, and what maps values at its nodes to the slopes of the polynomial through them."""
    legendre = np.polynomial.legendre
    x, w = gauss_legendre(NODES)
    coefficients = legendre.legder(np.linalg.inv(legendre.legvander(x, NODES - 1)))
    return x, w, np.asarray(legendre.legval(x, coefficients).T, np.float64)


def root_mean_square(function: Function, *, derivative: bool = False) -> float:
    """The root of E f(z)**2, or of E f'(z)**2, for z ~ N(0, 1), to some 1e-12 of itself; infinite where it diverges.

    Gauss-Legendre on intervals, each halved until that changes nothing: so that they close in on kinks and jumps.
    The derivative is that of the polynomial through the nodes. Raises ValueError where halving does not get there.
    """
    # The ends are no round numbers, so that no kink or jump hides between two intervals.
    ends = np.linspace(-RANGE - 1 / math.pi, RANGE, FIRST + 1)
    a, b = ends[:-1], ends[1:]
    y, precision = _weighted(function, a, b, derivative)
    scale = float(np.abs(y).max())
    if scale == 0 or not math.isfinite(scale):
        return math.inf if scale else 0.0
    coarse = _integrals(y / scale, a, b)
    outermost = coarse[0, 0] + coarse[0, -1]
    done, evaluations = 0.0, a.size * NODES
    while a.size:
        middle = a + (b - a) / 2
        left = _integrals(_weighted(function, a, middle, derivative)[0] / scale, a, middle)
        right = _integrals(_weighted(function, middle, b, derivative)[0] / scale, middle, b)
        fine = left + right
        evaluations += 2 * a.size * NODES
        total = done + float(fine[0].sum())
        if not math.isfinite(total):
            return math.inf
        scales = np.array([[total], [math.sqrt(total)]])
        settled = (np.abs(fine - coarse) <= TOLERANCE * precision * scales).all(axis=0)
        done += float(fine[0, settled].sum())
        a, b = np.concatenate([a[~settled], middle[~settled]]), np.concatenate([middle[~settled], b[~settled]])
        coarse = np.concatenate([left[:, ~settled], right[:, ~settled]], axis=1)
        if (b - a <= np.maximum(4 * np.spacing(np.maximum(np.abs(a), np.abs(b))), FINEST)).any():
            return math.inf  # as narrow as numbers are, and still not settled: a jump has no slope
        if evaluations > MOST:
            raise ValueError("activation varies too fast, or is too rough, to be integrated")
    # What still weighs something 40 sigmas out has no bound.
    return math.inf if outermost > 1e-9 * done else scale * math.sqrt(done)


def _weighted(function: Function, a: Array, b: Array, derivative: bool) -> tuple[Array, float]:
    """The function, or its slope, times the root of the density at the nodes of each interval; and its precision."""
    half = ((b - a) / 2)[:, None]
    z = a[:, None] + half + half * _rule()[0]
    y, precision = _values(function, z.ravel())
    y = y.reshape(z.shape)
    with np.errstate(all="ignore"):
        if derivative:
            y = (y - y[:, :1]) @ _rule()[2].T / half
        return y * np.exp(-z * z / 4) / (2 * math.pi) ** 0.25, precision


def _integrals(y: Array, a: Array, b: Array) -> Array:
    """Over each interval, of y**2, and of y itself: this one shows a jump from -1 to 1, where the square does not."""
    _, w, _ = _rule()
    with np.errstate(all="ignore"):
        return np.asarray((b - a) / 2 * np.stack([(y * y) @ w, y @ w]))


def _values(function: Function, z: Array) -> tuple[Array, float]:
    with np.errstate(all="ignore"):
        y = np.asarray(function(z.copy()))
    if y.shape != z.shape:
        raise ValueError(f"activation must map an array to one of its shape, got shape {y.shape} from {z.shape}")
    if y.dtype.kind not in "fiub":
        raise ValueError(f"activation must return real numbers, got dtype {y.dtype}")
    precision = float(np.finfo(y.dtype if y.dtype.kind == "f" else np.float64).eps)
    y = y.astype(np.float64)
    if np.isnan(y).any():
        raise ValueError(f"activation is not a number at {float(z[np.isnan(y)][0])!r}")
    return y, precision

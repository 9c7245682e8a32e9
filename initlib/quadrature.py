"""Mean squares of a function of a standard normal, and of its derivative, also with kinks and jumps."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function = Callable[[Array], Any]

RANGE = 40.0  # sigmas: the density beyond is below 1e-340
FIRST = 160  # intervals at the start
NODES = 20
MOST = 2_000_000  # evaluations at most
# The change of an interval's integral at which halving ends, in units of the result and of the function's precision.
# Differentiation at the nodes loses about 10 bits.
TOLERANCE = 4096
FINEST = 2.0**-200  # the narrowest interval, even at 0


@lru_cache(maxsize=8)  # importing numpy.polynomial takes longer than the rest of `import initlib`
def gauss_legendre(nodes: int) -> tuple[Array, Array]:
    """Return the nodes and weights of the Gauss-Legendre rule on [-1, 1]."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    return x, w


@lru_cache(maxsize=1)
def _rule() -> tuple[Array, Array, Array]:
    """Return the rule of an interval, and the matrix from values at its nodes to slopes of their polynomial."""
    legendre = np.polynomial.legendre
    x, w = gauss_legendre(NODES)
    coefficients = legendre.legder(np.linalg.inv(legendre.legvander(x, NODES - 1)))
    return x, w, np.asarray(legendre.legval(x, coefficients).T, np.float64)


def root_mean_square(function: Function, *, derivative: bool = False) -> float:
    """Return sqrt(E f(z)**2), or sqrt(E f'(z)**2), for z ~ N(0, 1), to a relative error of about 1e-12, or infinity.

    Gauss-Legendre on intervals. An interval is halved until halving changes nothing, so intervals close in on kinks
    and jumps. The derivative is that of the polynomial through the nodes. Raise ValueError where this fails.
    """
    # No end is a round number, so that no kink or jump lies between two intervals.
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
            return math.inf  # a jump, which has no slope
        if evaluations > MOST:
            raise ValueError(
                "activation must be smooth enough to integrate, got a function that varies too fast or is too rough"
            )
    # A function that still matters 40 sigmas out diverges.
    return math.inf if outermost > 1e-9 * done else scale * math.sqrt(done)


def _weighted(function: Function, a: Array, b: Array, derivative: bool) -> tuple[Array, float]:
    """Return f, or its slope, times the root of the density at the nodes of each interval, and the precision of f."""
    half = ((b - a) / 2)[:, None]
    z = a[:, None] + half + half * _rule()[0]
    y, precision = _values(function, z.ravel())
    y = y.reshape(z.shape)
    with np.errstate(all="ignore"):
        if derivative:
            y = (y - y[:, :1]) @ _rule()[2].T / half
        return y * np.exp(-z * z / 4) / (2 * math.pi) ** 0.25, precision


def _integrals(y: Array, a: Array, b: Array) -> Array:
    """Return the integrals over each interval of y**2, and of y, which changes at a jump from -1 to 1."""
    _, w, _ = _rule()
    with np.errstate(all="ignore"):
        return np.asarray((b - a) / 2 * np.stack([(y * y) @ w, y @ w]))


def _values(function: Function, z: Array) -> tuple[Array, float]:
    """Return f(z) and the precision of its dtype, checked."""
    with np.errstate(all="ignore"):
        y = np.asarray(function(z.copy()))
    if y.shape != z.shape:
        raise ValueError(f"activation must keep the shape of its argument, got shape {y.shape} from {z.shape}")
    if y.dtype.kind not in "fiub":
        raise ValueError(f"activation must return real numbers, got dtype {y.dtype}")
    precision = float(np.finfo(y.dtype if y.dtype.kind == "f" else np.float64).eps)
    y = y.astype(np.float64)
    if np.isnan(y).any():
        raise ValueError(f"activation must return numbers, got NaN at {float(z[np.isnan(y)][0])!r}")
    return y, precision

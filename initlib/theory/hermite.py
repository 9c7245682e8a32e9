"""Expectations E f(x) f(y) of two correlated normal variables, for every correlation at once."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..quadrature import Array, gauss_legendre

DEGREE = 2000  # of the last polynomial
SPAN = 12.0  # sigmas: the density beyond has a mass below 1e-30
PANELS = 48  # at the start, on each side of 0: the last polynomial turns twice in one
NODES = 20
RESOLVED = 1e-13  # the last Legendre coefficients of a resolved panel, relative to the largest value
NARROWEST = 2.0**-40


class HermiteSeries:
    """Sum of a_k**2 c**k: E f(x) f(y) of standard normals x and y of correlation c.

    a_k are the coefficients of f in the orthonormal Hermite polynomials. Where f has a kink, a_k**2 falls like k**-2.5.
    All a_k**2 add up to E f(x)**2, which gives the sum of the omitted terms. That sum is distributed over the further
    degrees by the power law of the last terms.

    >>> series = HermiteSeries(lambda z: np.maximum(z, 0))
    >>> round(float(series(0.0)) * 2 * math.pi, 9), round(float(series(1.0)), 9)
    (1.0, 0.5)
    """

    def __init__(self, function: Callable[[Array], Any]) -> None:
        x, w, even, odd = _panels(function)
        root = np.exp(-x * x / 4) / (2 * math.pi) ** 0.25  # of the density
        parts = [2 * w * root * even, 2 * w * root * odd]
        terms = np.empty(DEGREE)
        last, h = np.zeros_like(x), root  # orthonormal polynomials times the root of the density: they do not overflow
        for k in range(DEGREE):
            terms[k] = (parts[k % 2] @ h) ** 2
            last, h = h, (x * h - math.sqrt(k) * last) / math.sqrt(k + 1)
        self.terms = terms
        self.rest = [self._rest(parity, float(w @ (root * part) ** 2) * 2) for parity, part in enumerate((even, odd))]

    def _rest(self, parity: int, total: float) -> tuple[float, float]:
        """Return the sum of the omitted terms of a parity, and the power of the degree with which the sum falls."""
        terms = self.terms[parity::2]
        rest = total - float(terms.sum())
        if rest <= RESOLVED * float(self.terms.sum()):
            return 0.0, 1.0
        return rest, min(max(math.log2(1 + float(terms[terms.size // 2 :].sum()) / rest), 0.25), 50.0)

    def __call__(self, correlation: Any) -> Any:
        """Return E f(x) f(y), for a correlation or an array of correlations."""
        c = np.asarray(correlation, np.float64)
        total = np.power.outer(c, np.arange(DEGREE)) @ self.terms
        signs: tuple[Any, Any] = (1.0, np.sign(c))  # of c**k, k even and odd
        for sign, (rest, power) in zip(signs, self.rest, strict=True):
            if rest:
                degrees, shares = _further_degrees(power)
                total = total + sign * rest * (np.power.outer(np.abs(c), degrees) @ shares)
        return total

    def slope(self, correlation: float) -> float:
        """Return the derivative by the correlation, E f'(x) f'(y), for a correlation within (-1, 1)."""
        degrees: Array = np.arange(1.0, DEGREE)
        total = float(correlation ** (degrees - 1) @ (degrees * self.terms[1:]))
        for sign, (rest, power) in zip((math.copysign(1, correlation), 1.0), self.rest, strict=True):
            if rest:
                degrees, shares = _further_degrees(power)
                total += sign * rest * float(abs(correlation) ** (degrees - 1) @ (degrees * shares))
        return total


def _further_degrees(power: float) -> tuple[Array, Array]:
    """Return degrees past the last and their shares, for terms whose sum past k falls like k**-power."""
    x, w = gauss_legendre(64)
    return DEGREE * ((1 + x) / 2) ** (-1 / power), w / 2


def _panels(function: Callable[[Array], Any]) -> tuple[Array, Array, Array, Array]:
    """Return nodes above 0 and their weights, and the even and the odd part of the function there.

    Panels are halved until polynomials follow the function, so that they close in on its kinks.
    """
    legendre = np.polynomial.legendre
    x, w = gauss_legendre(NODES)
    last = np.linalg.inv(legendre.legvander(x, NODES - 1))[-2:]
    edges = np.linspace(0, SPAN, PANELS + 1)
    a, b = edges[:-1], edges[1:]
    resolved: list[tuple[Array, ...]] = []
    scale = 0.0
    while a.size:
        half = (b - a)[:, None] / 2
        z = a[:, None] + half * (1 + x)
        with np.errstate(all="ignore"):
            above, below = (np.asarray(function(sign * z), np.float64) for sign in (1.0, -1.0))
        weighted = np.stack([above, below]) * np.exp(-z * z / 4)
        if not np.isfinite(weighted).all():
            raise ValueError(
                f"activation must be finite up to {SPAN:g} sigmas, got NaN or an infinite value. Pass another function"
            )
        scale = max(scale, float(np.abs(weighted).max()))
        rough = np.abs(weighted @ last.T).max(axis=(0, 2)) > RESOLVED * scale
        done = ~rough | (b - a < NARROWEST)
        resolved.append(
            tuple(values[done].ravel() for values in (z, half * w, (above + below) / 2, (above - below) / 2))
        )
        middle = (a + b)[~done] / 2
        a, b = np.concatenate([a[~done], middle]), np.concatenate([middle, b[~done]])
    nodes, weights, even, odd = (np.concatenate(values) for values in zip(*resolved, strict=True))
    return nodes, weights, even, odd

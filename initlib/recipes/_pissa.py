"""Recipes of low-rank adapters whose factors come from the adapted weight: PiSSA and OLoRA."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arguments import integer, positive
from ..plans.fills.values import values
from .rules import Rules

Array = NDArray[np.float64]
Factors = tuple[Array, Array]  # B, of shape (outputs, rank), and A, of shape (rank, inputs)


def pissa(weights: Mapping[str, ArrayLike], rank: int, scaling: float = 1.0) -> Rules:
    """Return the rules of PiSSA: A and B hold the largest singular values of the adapted weight W. W keeps the rest.

    With W = U diag(s) V: B = U sqrt(s / scaling), A = sqrt(s / scaling) V, and W becomes W - scaling * B A. In each
    column of B the entry of largest magnitude is positive, so that every process has the same factors. The plan holds
    the new weights, of at most 64 MiB each.

    Args:
        weights: the adapted weights, of shape (outputs, inputs), by their names in PEFT, `<module>.base_layer.weight`.
        rank: the rank of the factors, at least 1.
        scaling: the factor of the product B A in the model: alpha / rank, or alpha / sqrt(rank) for rsLoRA.

    Returns:
        Rules for the factors and for the adapted weights, with PEFT's names.

    Raises:
        TypeError: the weights are no mapping from strings.
        ValueError: a weight is not a matrix of at least that rank, or scaling is not above 0.

    Example:
        >>> b, a, residual = pissa({"q.base_layer.weight": [[4.0, 0.0], [0.0, -1.0]]}, rank=1).values()
        >>> (b.array @ a.array).round(6) + 0.0
        array([[4., 0.],
               [0., 0.]])

    Reference:
        Meng, Wang, Zhang. PiSSA: principal singular values and singular vectors adaptation of large language models.
        2024. arXiv:2404.02948. The rules follow PEFT's `init_lora_weights="pissa"`, up to signs.
    """
    return _rules(weights, rank, scaling, _principal)


def olora(weights: Mapping[str, ArrayLike], rank: int, scaling: float = 1.0) -> Rules:
    """Return the rules of OLoRA: B has orthonormal columns, from the QR factorization of the adapted weight.

    With W = Q R: B is the first columns of Q, A the first rows of R, and W becomes W - scaling * B A. The signs are
    chosen as in `pissa`.

    Args:
        weights: as for `pissa`.
        rank: the rank of the factors, at least 1.
        scaling: as for `pissa`.

    Returns:
        Rules for the factors and for the adapted weights, with PEFT's names.

    Raises:
        TypeError: the weights are no mapping from strings.
        ValueError: a weight is not a matrix of at least that rank, or scaling is not above 0.

    Example:
        >>> b, a, residual = olora({"q.base_layer.weight": [[0.0, 2.0], [-1.0, 0.0]]}, rank=2).values()
        >>> b.array.round(6) + 0.0, a.array.round(6) + 0.0
        (array([[0., 1.],
               [1., 0.]]), array([[-1.,  0.],
               [ 0.,  2.]]))

    Reference:
        Büyükakyüz. OLoRA: orthonormal low-rank adaptation of large language models. 2024. arXiv:2406.01775. The rules
        follow PEFT's `init_lora_weights="olora"`, up to signs.
    """
    return _rules(weights, rank, scaling, _orthonormal)


def _principal(weight: Array, rank: int, scaling: float) -> Factors:
    left, singular, right = np.linalg.svd(weight, full_matrices=False)
    roots = np.sqrt(singular[:rank] / scaling)
    return left[:, :rank] * roots, roots[:, None] * right[:rank]


def _orthonormal(weight: Array, rank: int, scaling: float) -> Factors:
    q, r = np.linalg.qr(weight)
    return q[:, :rank], r[:rank]


def _rules(
    weights: Mapping[str, ArrayLike], rank: int, scaling: float, factorize: Callable[[Array, int, float], Factors]
) -> Rules:
    rank, scaling = integer(rank, "rank", least=1), positive(scaling, "scaling")
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights must be a mapping from names to arrays, got {type(weights).__name__}")
    rules: dict[Any, Any] = {}
    for name, given in weights.items():
        weight = np.asarray(given, np.float64)
        if weight.ndim != 2 or min(weight.shape) < rank:
            raise ValueError(f"weights must be matrices of at least rank {rank}, got shape {weight.shape} for {name!r}")
        b, a = factorize(weight, rank, scaling)
        signs = np.where(b[np.abs(b).argmax(0), range(rank)] < 0, -1.0, 1.0)
        b, a = b * signs, signs[:, None] * a
        module = re.escape(name.removesuffix(".base_layer.weight"))
        rules[re.compile(rf"{module}\.lora_B\..*")] = values(b)
        rules[re.compile(rf"{module}\.lora_A\..*")] = values(a)
        rules[re.compile(re.escape(name))] = values(weight - scaling * b @ a)
    return rules

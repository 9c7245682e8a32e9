"""Recipes for any network: by depth, and for sines."""

from typing import Any

from .._arguments import integer
from ..schemes._siren import siren
from ..schemes._variance import variance_scaling
from .rules import RESIDUAL, Rules, named, optional, required

_FEED_FORWARD_AND_VALUES = named("fc1", "fc2", "v_proj", "out_proj")


def deepnorm(layers: int, smaller: Any = _FEED_FORWARD_AND_VALUES) -> Rules:
    """DeepNorm: Glorot; feed-forward weights, values and attention outputs times (8 layers)**-0.25.

    >>> next(iter(deepnorm(2).values()))
    scaled(initializer=variance_scaling(factor=1.0, mode='fan_avg', distribution='normal'), factor=0.5)

    Of an encoder or a decoder alone; residuals are to be multiplied by (2 layers)**0.25 in the network. `smaller` is
    the pattern of these weights, by default as in the authors' torchscale.
    Wang, Ma, Dong, Huang, Zhang, Wei 2022, arXiv 2203.00555.
    """
    glorot = variance_scaling(1.0, "fan_avg", "normal")
    smaller = required(smaller, "deepnorm", RESIDUAL, "smaller")
    return {smaller: glorot * (8 * integer(layers, "layers", least=1)) ** -0.25, optional("*:kernel"): glorot}


def siren_network(first: Any, w0: float = 30.0) -> Rules:
    """SIREN, of layers sin(w0 (W x + b)): the first uniform within 1 / fan_in, the others sqrt(6 / fan_in) / w0.

    >>> siren_network("net.0.weight")
    {'net.0.weight': siren(w0=30.0, first=True), '*:kernel': siren(w0=30.0, first=False)}

    `first` is the pattern of the first layer's weight. Biases, which the authors' code leaves to PyTorch, are the
    modules' own.
    Sitzmann, Martel, Bergman, Lindell, Wetzstein 2020, arXiv 2006.09661.
    """
    return {required(first, "siren_network", "first layer", "first"): siren(w0, first=True), "*:kernel": siren(w0)}

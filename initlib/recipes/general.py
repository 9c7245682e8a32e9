"""Recipes for any network: by depth, and for sines."""

from typing import Any

from .._arguments import integer
from ..schemes._siren import siren
from ..schemes._variance import variance_scaling
from .rules import Rules, named, optional, outputs, required

_FEED_FORWARD_AND_VALUES = named("fc1", "fc2", "v_proj", "out_proj")


def deepnorm(layers: int, smaller: Any = _FEED_FORWARD_AND_VALUES) -> Rules:
    """Return the rules of DeepNorm: Glorot normal; values, outputs and feed-forward kernels times (8 layers)**-0.25.

    The rules are for an encoder or a decoder alone. The forward pass must multiply each residual by (2 layers)**0.25.

    Args:
        layers: the number of layers.
        smaller: the pattern of the weights that are multiplied by (8 layers)**-0.25; by default the names in the
            authors' torchscale.

    Returns:
        Rules by pattern, for `rules=`.

    Raises:
        ValueError: an integer argument is below 1.

    Example:
        >>> next(iter(deepnorm(2).values()))
        scaled(initializer=variance_scaling(factor=1.0, mode='fan_avg', distribution='normal'), factor=0.5)

    Reference:
        Wang, Ma, Dong, Huang, Zhang, Wei. DeepNet. 2022. arXiv:2203.00555.
    """
    glorot = variance_scaling(1.0, "fan_avg", "normal")
    layers = integer(layers, "layers", least=1)
    outputs_and_values = outputs(smaller, "deepnorm", layers, argument="smaller")
    return {outputs_and_values: glorot * (8 * layers) ** -0.25, optional("*:kernel"): glorot}


def siren_network(first: Any, w0: float = 30.0) -> Rules:
    """Return the rules of SIREN, a network of layers sin(w0 * (W x + b)).

    No rule covers biases, so the default sets drawn biases to 0. For biases as in the authors' code, pass the rules
    `[siren_network(first), torch_default]`.

    Args:
        first: the pattern of the first layer's weight, uniform within 1 / fan_in.
        w0: the frequency; the other weights are uniform within sqrt(6 / fan_in) / w0.

    Returns:
        Rules by pattern, for `rules=`.

    Example:
        >>> siren_network("net.0.weight")
        {'net.0.weight': siren(w0=30.0, first=True), '*:kernel': siren(w0=30.0, first=False)}

    Reference:
        Sitzmann, Martel, Bergman, Lindell, Wetzstein. Implicit neural representations. 2020. arXiv:2006.09661.
    """
    return {required(first, "siren_network", "first layer", "first"): siren(w0, first=True), "*:kernel": siren(w0)}

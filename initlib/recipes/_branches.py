"""Recipes of the scales of residual branches: ReZero and LayerScale."""

from typing import Any

from .._arguments import integer
from ..schemes._constant import constant, zeros
from .rules import Rules, required

# LayerScale's start by the least depth that it is for, the deepest first.
STARTS = ((25, 1e-6), (19, 1e-5), (1, 0.1))


def rezero(scale: Any = "*resweight") -> Rules:
    """Return the rule of ReZero: the scale of each residual branch is 0, so each block starts as the identity.

    Args:
        scale: the pattern of the scales; by default the name in the authors' package.

    Returns:
        The rule for the scales. All other weights need other rules.

    Example:
        >>> rezero()
        {'*resweight': constant(value=0.0)}

    Reference:
        Bachlechner, Majumder, Mao, Cottrell, McAuley. ReZero is all you need: fast convergence at large depth. 2020.
        arXiv:2003.04887.
    """
    return {required(scale, "rezero", "scales of residual branches", "scale"): zeros}


def layer_scale(layers: int, scale: Any = "*gamma*") -> Rules:
    """Return the rule of LayerScale: scales of 0.1 for up to 18 layers, 1e-5 for up to 24, and 1e-6 for more.

    Args:
        layers: the number of layers, at least 1.
        scale: the pattern of the scales; by default timm's names, `gamma`, `gamma_1` and `gamma_2`.

    Returns:
        The rule for the scales. All other weights need other rules.

    Raises:
        ValueError: the number of layers is below 1.

    Example:
        >>> layer_scale(24)
        {'*gamma*': constant(value=1e-05)}

    Reference:
        Touvron, Cord, Sablayrolles, Synnaeve, Jégou. Going deeper with image transformers, section 2. 2021.
        arXiv:2103.17239.
    """
    layers = integer(layers, "layers", least=1)
    start = next(value for least, value in STARTS if layers >= least)
    return {required(scale, "layer_scale", "scales of residual branches", "scale"): constant(start)}

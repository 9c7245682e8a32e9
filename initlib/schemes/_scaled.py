"""Scaled weights of any initializer: depth, width and residual scaling."""

from .._public import public
from .initializer import Initializer, checked_initializer


@public("initlib")
def scaled(initializer: Initializer, factor: float) -> Initializer:
    """Multiply the weights of an initializer by a factor; `initializer * factor` is the same.

    Each weight is rounded once, after the factor.

    Args:
        initializer: the initializer of the weights.
        factor: the factor, finite and at least 0.

    Returns:
        The initializer of the scaled weights.

    Raises:
        TypeError: initializer is not an initializer, or factor is not a real number.
        ValueError: factor is negative or not finite.

    Example:
        >>> from initlib import glorot_normal, he_normal, normal, orthogonal
        >>> layers, width_multiplier = 12, 4
        >>> (normal(std=0.02) * (2 * layers) ** -0.5).std((768, 768))  # GPT-2's residual outputs
        0.004082482904638631
        >>> deepnorm = glorot_normal * (8 * layers) ** -0.25  # values, outputs, feed-forward: arXiv:2203.00555
        >>> fixup = he_normal * layers**-0.5  # branches of 2 layers: arXiv:1901.09321
        >>> mup_hidden = normal(std=0.02) * width_multiplier**-0.5  # arXiv:2203.03466
        >>> mup_readout = normal(std=0.02) * (1 / width_multiplier)
        >>> orthogonal() * 0.5
        orthogonal(gain=0.5)
    """
    return checked_initializer(initializer) * factor

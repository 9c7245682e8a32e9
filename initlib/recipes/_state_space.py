"""Recipes of state-space models and linear recurrences: Mamba-2 and the RG-LRU."""

from .._arguments import integer, positive
from ..schemes._constant import ones, zeros
from ..schemes._normal import normal
from ..schemes._transforms import inverse_softplus, log_uniform, logarithm
from ..schemes._uniform import uniform
from ..schemes._variance import variance_scaling
from .rules import Rules, optional, required


def mamba2(layers: int | None = None, *, a: tuple[float, float] = (1.0, 16.0), std: float = 0.02) -> Rules:
    """Return the rules of Mamba-2: A uniform in a range, step sizes log-uniform in [0.001, 0.1], D equal to 1.

    Projections and convolutions are uniform within 1 / sqrt(fan_in), as PyTorch initializes them. The axes of the
    depthwise convolution must be "(channels O)IK".

    Args:
        layers: the number of blocks. Output projections are divided by the root of this number; None: not divided.
        a: the least and the greatest value of A; `A_log` is the logarithm.
        std: the std of tables.

    Returns:
        Rules for `A_log`, `dt_bias`, `D`, output projections, kernels and tables.

    Raises:
        ValueError: the number of layers is below 1, or the range of A is not positive.

    Example:
        >>> mamba2()["*.A_log"]
        logarithm(initializer=uniform(low=1.0, high=16.0), factor=1.0)

    Reference:
        Dao, Gu. Transformers are SSMs. 2024. arXiv:2405.21060. As `mamba_ssm.modules.mamba2` and the `_init_weights` of
        `mamba_ssm.models.mixer_seq_simple`.
    """
    bound = variance_scaling(1 / 3, "fan_in", "uniform")  # within 1 / sqrt(fan_in)
    depth = 1.0 if layers is None else integer(layers, "layers", least=1) ** -0.5
    return {
        required("*.A_log", "mamba2", "A_log"): logarithm(uniform(positive(a[0], "a"), positive(a[1], "a"))),
        optional("*.dt_bias"): inverse_softplus(log_uniform(1e-3, 0.1)),
        optional("*.D"): ones,
        optional("*.out_proj.weight"): bound * depth,
        optional("*:kernel"): bound,
        optional("*:table"): normal(std=std),
    }


def rg_lru(low: float = 0.9, high: float = 0.999) -> Rules:
    """Return the rules of the RG-LRU: the recurrence is uniform by area on a ring, gates have std fan_in**-0.5.

    The recurrence is exp(-softplus(a_param)). Its square is uniform between low**2 and high**2.

    Args:
        low: the inner radius of the ring, above 0.
        high: the outer radius, below 1.

    Returns:
        Rules for `a_param` and the block-diagonal gates `input_gate` and `a_gate`.

    Raises:
        ValueError: the radii are not 0 < low < high < 1.

    Example:
        >>> import numpy as np
        >>> a_param = rg_lru()["*a_param"]((1000,), "float64", seed=0)
        >>> radius = np.exp(-np.log1p(np.exp(a_param)))
        >>> bool((radius > 0.9).all() and (radius < 0.999).all())
        True

    Reference:
        De et al. Griffin: mixing gated linear recurrences with local attention for efficient language models. 2024.
        arXiv:2402.19427. As `RGLRU` of google-deepmind/recurrentgemma.
    """
    low, high = positive(low, "low"), positive(high, "high")
    if not low < high < 1:
        raise ValueError(f"high must be above low and below 1, got low {low!r} and high {high!r}")
    ring = logarithm(uniform(low**2, high**2), -0.5)  # -log(radius)
    return {
        required("*a_param", "rg_lru", "a_param"): inverse_softplus(ring, floor=min(1e-4, (1 - high) / 2)),
        optional("*_gate.w"): variance_scaling(1.0, "fan_in", "normal"),
        optional("*_gate.b"): zeros,
    }

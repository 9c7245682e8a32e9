"""Recipes of state-space models and linear recurrences: Mamba-2, Mamba-3, gated DeltaNet and the RG-LRU."""

from typing import Any

from .._arguments import integer, positive
from ..plans.parameter import Parameter
from ..schemes._constant import constant, ones, zeros
from ..schemes._normal import normal
from ..schemes._transforms import inverse_softplus, log_uniform, logarithm
from ..schemes._uniform import uniform
from ..schemes._variance import variance_scaling
from ..schemes.initializer import Initializer
from .rules import Rules, kernels_and_tables, optional, outputs, required

_STEPS = inverse_softplus(log_uniform(1e-3, 0.1))  # the biases of step sizes between 0.001 and 0.1


def mamba2(
    layers: int | None = None,
    *,
    a: tuple[float, float] = (1.0, 16.0),
    std: float = 0.02,
    residual: Any = "*.out_proj.weight",
) -> Rules:
    """Return the rules of Mamba-2: uniform A in a range, log-uniform step sizes in [0.001, 0.1], and D equal to 1.

    Projections and convolutions are uniform within 1 / sqrt(fan_in), as PyTorch initializes them. The axes of the
    depthwise convolution must be "(channels O)IK".

    Args:
        layers: the number of blocks. The output projections are divided by sqrt(layers), or not divided if `layers` is
            None.
        a: the least and the greatest value of A; `A_log` is the logarithm of A.
        std: the std of tables.
        residual: the pattern of the output projections.

    Returns:
        Rules for `A_log`, `dt_bias`, `D`, output projections, kernels and tables.

    Raises:
        ValueError: the number of layers is below 1, or the range of A is not positive.

    Example:
        >>> mamba2()["*.A_log"]
        logarithm(initializer=uniform(low=1.0, high=16.0), factor=1.0)

    Reference:
        Dao, Gu. Transformers are SSMs. 2024. arXiv:2405.21060. The rules follow `mamba_ssm.modules.mamba2` and the
        `_init_weights` of `mamba_ssm.models.mixer_seq_simple`.
    """
    return {
        required("*.A_log", "mamba2", "A_log"): _log_of_uniform(a),
        optional("*.dt_bias"): _STEPS,
        optional("*.D"): ones,
        **_projections("mamba2", layers, std, residual),
    }


def mamba3(layers: int | None = None, *, std: float = 0.02, residual: Any = "*.out_proj.weight") -> Rules:
    """Return the rules of Mamba-3: log-uniform step sizes in [0.001, 0.1]; D and the biases of B and C are 1.

    In a model with several inputs and outputs (MIMO) of rank r, `mimo_x` and `mimo_o` are 1 / r, and `mimo_z` is 1.
    Other projections are uniform within 1 / sqrt(fan_in), as PyTorch initializes them. A is computed from the input,
    and has no parameter.

    Args:
        layers: the number of blocks. The output projections are divided by sqrt(layers), or not divided if `layers` is
            None.
        std: the std of tables.
        residual: the pattern of the output projections.

    Returns:
        Rules for `dt_bias`, `B_bias`, `C_bias`, `D`, the MIMO projections, output projections, kernels and tables.

    Raises:
        ValueError: the number of layers is below 1.

    Example:
        >>> mamba3()["*.mimo_x"](Parameter("mimo_x", (24, 4, 64)))  # (heads, rank, width of a head)
        constant(value=0.25)

    Reference:
        Lahoti, Li, Chen, Wang, Bick, Kolter, Dao, Gu. Mamba-3: improved sequence modeling using state space principles.
        2026. arXiv:2603.15569. The rules follow `mamba_ssm.modules.mamba3` and the `_init_weights` of
        `mamba_ssm.models.mixer_seq_simple`.
    """
    return {
        required("*.dt_bias", "mamba3", "dt_bias"): _STEPS,
        optional("*.[BC]_bias"): ones,
        optional("*.D"): ones,
        optional("*.mimo_z"): ones,
        optional("*.mimo_x"): _per_rank,
        optional("*.mimo_o"): _per_rank,
        **_projections("mamba3", layers, std, residual),
    }


def gated_deltanet(*, a: tuple[float, float] = (0.01, 16.0), std: float = 0.02) -> Rules:
    """Return the rules of gated DeltaNet: uniform A in a range, and log-uniform step sizes in [0.001, 0.1].

    D is 1. Tables and kernels (also of convolutions) are normal. In flash-linear-attention the least A is 0, so `A_log`
    may be minus infinity. In Qwen3-Next the least A is 0.01, and `dt_bias` is 1. For Qwen3-Next, put the rule
    `{"*.dt_bias": ones}` before these rules.

    Args:
        a: the least and the greatest value of A; `A_log` is the logarithm of A.
        std: the std of kernels and tables.

    Returns:
        Rules for `A_log`, `dt_bias`, `D`, kernels and tables.

    Raises:
        ValueError: the range of A is not positive.

    Example:
        >>> gated_deltanet()["*.A_log"]
        logarithm(initializer=uniform(low=0.01, high=16.0), factor=1.0)

    Reference:
        Yang, Kautz, Hatamizadeh. Gated delta networks: improving Mamba2 with delta rule. 2024. arXiv:2412.06464. The
        rules follow `fla.models.gated_deltanet` of flash-linear-attention.
    """
    return {
        required("*.A_log", "gated_deltanet", "A_log"): _log_of_uniform(a),
        optional("*.dt_bias"): _STEPS,
        optional("*.D"): ones,
        **kernels_and_tables(normal(std=std), normal(std=std)),
    }


def _log_of_uniform(a: tuple[float, float]) -> Initializer:
    return logarithm(uniform(positive(a[0], "a"), positive(a[1], "a")))


def _per_rank(parameter: Parameter) -> Initializer:
    """Return 1 / r for a projection of shape (heads, r, width)."""
    return constant(1 / parameter.shape[-2])


def _projections(recipe: str, layers: int | None, std: float, residual: Any) -> Rules:
    """Return the rules for output projections, other kernels, and tables."""
    bound = variance_scaling(1 / 3, "fan_in", "uniform")  # within 1 / sqrt(fan_in)
    depth = 1.0 if layers is None else integer(layers, "layers", least=1) ** -0.5
    pattern = optional(residual) if layers is None else outputs(residual, recipe, layers, branches=1)
    return {pattern: bound * depth, **kernels_and_tables(bound, normal(std=std))}


def rg_lru(low: float = 0.9, high: float = 0.999) -> Rules:
    """Return the rules of the RG-LRU: the squared recurrence is uniform, and gates have std fan_in**-0.5.

    The recurrence is r = exp(-softplus(a_param)). r**2 is uniform between low**2 and high**2, so r is the radius of a
    point that is uniform on a ring. Biases of gates are 0.

    Args:
        low: the least recurrence, above 0.
        high: the greatest recurrence, above low and below 1.

    Returns:
        Rules for `a_param` and the block-diagonal gates `input_gate` and `a_gate`.

    Raises:
        ValueError: 0 < low < high < 1 does not hold.

    Example:
        >>> import numpy as np
        >>> a_param = rg_lru()["*a_param"]((1000,), "float64", seed=0)
        >>> radius = np.exp(-np.log1p(np.exp(a_param)))
        >>> bool((radius > 0.9).all() and (radius < 0.999).all())
        True

    Reference:
        De et al. Griffin: mixing gated linear recurrences with local attention for efficient language models. 2024.
        arXiv:2402.19427. The rules follow `RGLRU` of google-deepmind/recurrentgemma.
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

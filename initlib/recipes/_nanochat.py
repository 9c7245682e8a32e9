"""Recipe of nanochat."""

import math
from typing import Any

from ..axes import fans
from ..plans.parameter import Parameter
from ..schemes._constant import zeros
from ..schemes._normal import normal
from ..schemes.initializer import Initializer
from .rules import Rules, kernels_and_tables, named, optional, outputs

_OUTPUTS = named("c_proj")


def nanochat(residual: Any = _OUTPUTS) -> Rules:
    """Return the rules of nanochat: residual outputs and the head are 0, and tables have std 1.

    The other kernels are normal, with std min(1, sqrt(fan_out / fan_in)) / sqrt(fan_in), as in the paper on the
    spectral condition.

    Args:
        residual: the pattern of the outputs of residual branches.

    Returns:
        Rules for the head, residual outputs, kernels and tables.

    Example:
        >>> kernel = nanochat()["*:kernel"](Parameter("h.0.attn.c_k.weight", (64, 256), axes="OI", kind="kernel"))
        >>> kernel.std((64, 256))  # min(1, sqrt(64 / 256)) / sqrt(256)
        0.03125

    Reference:
        Karpathy. nanochat, `GPT.init_weights`, October 2025. https://github.com/karpathy/nanochat.
        Yang, Simon, Bernstein. A spectral condition for feature learning. 2023. arXiv:2310.17813.
    """
    return {
        optional(named("lm_head")): zeros,
        outputs(residual, "nanochat"): zeros,
        **kernels_and_tables(_spectral, normal()),
    }


def _spectral(parameter: Parameter) -> Initializer:
    fan_in, fan_out = fans(parameter.shape, parameter.axes)
    return normal(std=min(1.0, math.sqrt(fan_out / fan_in)) / math.sqrt(fan_in))

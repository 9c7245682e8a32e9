"""Recipe of xLSTM's mLSTM blocks."""

import math
from typing import Any

import numpy as np

from .._arguments import integer
from ..plans.fills.values import Values, values
from ..plans.parameter import Parameter
from ..schemes._constant import ones, zeros
from ..schemes._normal import normal
from ._small_init import small_init
from .rules import Rules, named, optional, outputs

_OUTPUTS = named("proj_down")


def xlstm(blocks: int, width: int, residual: Any = _OUTPUTS) -> Rules:
    """Return the rules of mLSTM blocks: small init, Wang's std for outputs, and gates that start open.

    Forget gates have zero weights and biases evenly spaced from 3 to 6 over the heads. Input gates have zero weights
    and normal biases of std 0.1.

    Args:
        blocks: the number of blocks, at least 1.
        width: the width of the residual stream, at least 1.
        residual: the pattern of the outputs of residual branches.

    Returns:
        Rules for gates, output projections, query, key and value projections, kernels and tables.

    Raises:
        ValueError: the width or the number of blocks is below 1.

    Example:
        >>> gate, input_bias, forget_bias, *_ = xlstm(12, 512).values()
        >>> forget_bias(Parameter("fgate.bias", (4,))).array
        array([3., 4., 5., 6.])

    Reference:
        Beck et al. xLSTM: extended long short-term memory. 2024. arXiv:2405.04517. The rules follow NX-AI/xlstm.
    """
    blocks, width = integer(blocks, "blocks", least=1), integer(width, "width", least=1)
    small = small_init(width)
    return {
        optional(named("igate", "fgate")): zeros,
        optional(named("igate", attribute="bias")): normal(std=0.1),
        optional(named("fgate", attribute="bias")): _spaced,
        optional("*.learnable_skip"): ones,
        outputs(residual, "xlstm", blocks, count="blocks", branches=1): normal(std=2 / blocks / math.sqrt(width)),
        optional(named("q_proj", "k_proj", "v_proj")): small["*:kernel"],
        **small,
    }


def _spaced(parameter: Parameter) -> Values:
    return values(np.linspace(3.0, 6.0, parameter.shape[0]))

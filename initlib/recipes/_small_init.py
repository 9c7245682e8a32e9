"""Recipes with a std from the width and the depth alone: small init, and Wang's for residual outputs."""

import math
from typing import Any

from .._arguments import integer
from ..schemes._normal import normal
from .rules import Rules, kernels_and_tables, named, outputs

_OUTPUTS = named(
    *("attention.dense", "mlp.dense_4h_to_h"),  # GPT-NeoX
    *("self_attn.o_proj", "mlp.down_proj"),  # LLaMA in transformers
    *("attn.c_proj", "mlp.c_proj"),  # GPT-2
)


def small_init(width: int) -> Rules:
    """Return the rules of small init: every kernel and table is normal with std sqrt(2 / (5 width)).

    The std is Glorot's std for the largest matrix of a transformer, from width to 4 * width.

    Args:
        width: the width of the residual stream, at least 1.

    Returns:
        Rules for kernels and tables.

    Raises:
        ValueError: the width is below 1.

    Example:
        >>> round(small_init(1024)["*:kernel"].std((1024, 1024)), 9)
        0.019764235

    Reference:
        Nguyen, Salazar. Transformers without tears. 2019. arXiv:1910.05895. The rules follow GPT-NeoX's
        `small_init_init_method`.
    """
    every = normal(std=math.sqrt(2 / (5 * integer(width, "width", least=1))))
    return kernels_and_tables(every, every)


def wang(layers: int, width: int, residual: Any = _OUTPUTS) -> Rules:
    """Return the rules of GPT-NeoX-20B: small init, and std 2 / (layers sqrt(width)) for residual outputs.

    Args:
        layers: the number of transformer layers, at least 1.
        width: the width of the residual stream, at least 1.
        residual: the pattern of the outputs of residual branches; by default the names of GPT-NeoX, GPT-2 and LLaMA.

    Returns:
        Rules for residual outputs, kernels and tables.

    Raises:
        ValueError: the width or the number of layers is below 1.

    Example:
        >>> residual = next(iter(wang(44, 6144).values()))
        >>> round(residual.std((6144, 6144)), 9)
        0.000579898

    Reference:
        Black et al. GPT-NeoX-20B: an open-source autoregressive language model, section 3.4. 2022. arXiv:2204.06745.
        The rules follow GPT-NeoX's `wang_init_method`.
    """
    std = 2 / integer(layers, "layers", least=1) / math.sqrt(integer(width, "width", least=1))
    return {outputs(residual, "wang", layers): normal(std=std), **small_init(width)}

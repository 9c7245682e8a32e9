"""Recipes of language models. If a paper and a library differ, the docstring names the source of the recipe."""

from typing import Any

import numpy as np

from .._arguments import integer
from ..plans.fills.values import Values, values
from ..plans.parameter import Parameter
from ..schemes._constant import ones
from ..schemes._normal import normal
from ..schemes._transforms import inverse_softplus, log_uniform
from ..schemes._variance import glorot_uniform, variance_scaling
from .rules import Rules, named, optional, outputs, required


def gpt2(layers: int, std: float = 0.02, residual: Any = "*.c_proj.weight") -> Rules:
    """Return the rules of GPT-2: normal, and the outputs of residual branches divided by sqrt(2 layers).

    Names are those of the authors' code, transformers (GPT2PreTrainedModel) and nanoGPT.

    Args:
        layers: the number of layers, each with two residual branches.
        std: the std of kernels and tables.
        residual: the pattern of the outputs of residual branches, or a list of patterns.

    Returns:
        Rules by pattern, for `rules=`.

    Raises:
        ValueError: an integer argument is below 1.

    Example:
        >>> round(gpt2(12)["*.c_proj.weight"].std((768, 768)), 9)
        0.004082483

    Reference:
        Radford, Wu, Child, Luan, Amodei, Sutskever. Language models are unsupervised multitask learners. 2019.
        Section 2.3.
    """
    every, layers = normal(std=std), integer(layers, "layers", least=1)
    return {
        outputs(residual, "gpt2", layers): every * (2 * layers) ** -0.5,
        optional("*:kernel"): every,
        optional("*:table"): every,
    }


def bert(std: float = 0.02) -> Rules:
    """Return the rules of BERT: one normal distribution. Padding rows, biases and scales keep their constructor values.

    The rules follow transformers (BertPreTrainedModel). The authors' own code truncates the distribution at 2 sigmas.

    Args:
        std: the std of kernels and tables.

    Returns:
        Rules by pattern, for `rules=`.

    Example:
        >>> bert()
        {'*:kernel': normal(mean=0.0, std=0.02), '*:table': normal(mean=0.0, std=0.02)}

    Reference:
        Devlin, Chang, Lee, Toutanova. BERT. 2018. arXiv:1810.04805.
    """
    return {"*:kernel": normal(std=std), optional("*:table"): normal(std=std)}


def t5(width: int, head_width: int) -> Rules:
    """Return the rules of T5: std 1 / sqrt(fan_in), and queries also divided by sqrt(head_width).

    Tables, and a head that is tied to a table, have std 1. Relative position biases have std width**-0.5. Names and
    scales are those of transformers (T5PreTrainedModel).

    Args:
        width: the width of the model.
        head_width: the width of an attention head. T5 does not divide attention scores by the root of this width.

    Returns:
        Rules by pattern, for `rules=`.

    Raises:
        ValueError: an integer argument is below 1.

    Example:
        >>> rules = t5(512, 64)
        >>> round(rules["*Attention.q.weight"].std((512, 512), axes="OI"), 9)  # (512 * 64)**-0.5
        0.005524272

    Reference:
        Raffel et al. Exploring the limits of transfer learning. 2019. arXiv:1910.10683.
    """
    by_fan = variance_scaling(1.0, "fan_in", "normal")
    return {
        required("*Attention.q.weight", "t5", "queries"): by_fan * integer(head_width, "head_width", least=1) ** -0.5,
        optional("*.relative_attention_bias.weight"): normal(std=integer(width, "width", least=1) ** -0.5),
        optional(named("shared", "lm_head")): normal(),
        optional("*:kernel"): by_fan,
    }


def mamba(
    layers: int | None = None,
    std: float = 0.1,
    low: float = 1e-3,
    high: float = 0.1,
    residual: Any = "*.out_proj.weight",
) -> Rules:
    """Return the rules of Mamba: A of S4D-Real, log-uniform step sizes in [low, high], and PyTorch's convolutions.

    Names and scales are those of transformers (MambaPreTrainedModel), where projections are normal. In the authors'
    code projections have PyTorch's defaults. The convolution is depthwise: its axes are "(channels O)IK".

    Args:
        layers: the number of layers. The outputs of residual branches are divided by the square root of this number, or
            not divided if None.
        std: the std of other kernels and of tables.
        low: the smallest step size.
        high: the largest step size.
        residual: the pattern of the outputs of residual branches.

    Returns:
        Rules by pattern, for `rules=`.

    Raises:
        ValueError: an integer argument is below 1.

    Example:
        >>> mamba()["*.A_log"](Parameter("A_log", (2, 4))).array[0]
        array([0.       , 0.6931472, 1.0986123, 1.3862944], dtype=float32)

    Reference:
        Gu, Dao. Mamba. 2023. arXiv:2312.00752.
    """
    bound = variance_scaling(1 / 3, "fan_in", "uniform")  # within 1 / sqrt(fan_in)
    depth = 1.0 if layers is None else integer(layers, "layers", least=1) ** -0.5
    return {
        "*.A_log": _log_states,
        "*.D": ones,
        "*.dt_proj.weight": bound,
        "*.dt_proj.bias": inverse_softplus(log_uniform(low, high)),
        "*.conv1d.weight": bound,
        outputs(residual, "mamba", layers, branches=1): bound * depth,
        optional("*:kernel"): normal(std=std),
        optional("*:table"): normal(std=std),
    }


def _log_states(parameter: Parameter) -> Values:
    """Return log(1..n) over the last axis: the states of each channel."""
    return values(np.broadcast_to(np.log(np.arange(1, parameter.shape[-1] + 1)), parameter.shape).astype("float32"))


def switch(scale: float = 0.1) -> Rules:
    """Return the rules of the Switch Transformer: truncated normal kernels of variance scale / fan_in.

    Experts and routers are kernels too. Each expert has its own fans if the axes of a stack of experts are known
    ("BIO"). Tables have std 1, and relative position biases are Glorot uniform, as in the authors' library T5X.

    Args:
        scale: the scale of the variance. The default is a tenth of the usual scale, and makes training more stable.

    Returns:
        Rules by pattern, for `rules=`.

    Example:
        >>> round(switch()["*:kernel"].std((64, 768, 3072), axes="BIO"), 9)
        0.011410887

    Reference:
        Fedus, Zoph, Shazeer. Switch transformers. 2021. arXiv:2101.03961. Section 2.4.
    """
    return {
        optional("*.relative_attention_bias.weight"): glorot_uniform,
        "*:kernel": variance_scaling(scale, "fan_in", "truncated_normal"),
        optional("*:table"): normal(),
    }

"""Recipes of language models. Where a paper and a library differ, the docstring says whose way it is."""

import numpy as np

from .._arguments import integer
from ..plans.parameter import Parameter
from ..plans.rules.values import Values, values
from ..schemes._constant import ones
from ..schemes._normal import normal
from ..schemes._transforms import inverse_softplus, log_uniform
from ..schemes._variance import glorot_uniform, variance_scaling
from .rules import RESIDUAL, Rules, named, optional, required


def gpt2(layers: int, std: float = 0.02) -> Rules:
    """GPT-2: normal; the outputs of the two residual branches of each layer are divided by sqrt(2 layers).

    >>> round(gpt2(12)["*.c_proj.weight"].std((768, 768)), 9)
    0.004082483

    Names as in the authors' code, transformers (GPT2PreTrainedModel) and nanoGPT. Radford, Wu, Child, Luan, Amodei,
    Sutskever 2019, Language models are unsupervised multitask learners, section 2.3.
    """
    every = normal(std=std)
    return {
        required("*.c_proj.weight", "gpt2", RESIDUAL): every * (2 * integer(layers, "layers", least=1)) ** -0.5,
        optional("*:kernel"): every,
        optional("*:table"): every,
    }


def bert(std: float = 0.02) -> Rules:
    """BERT: normal; padding rows, biases and scales are their modules' own.

    >>> bert()
    {'*:kernel': normal(mean=0.0, std=0.02), '*:table': normal(mean=0.0, std=0.02)}

    As in transformers (BertPreTrainedModel); the authors' own code cuts it at 2 sigmas.
    Devlin, Chang, Lee, Toutanova 2018, arXiv 1810.04805.
    """
    return {"*:kernel": normal(std=std), optional("*:table"): normal(std=std)}


def t5(width: int, head_width: int) -> Rules:
    """T5: 1 / sqrt(fan_in); queries also divided by sqrt(head_width), since attention divides by nothing.

    >>> rules = t5(512, 64)
    >>> round(rules["*Attention.q.weight"].std((512, 512), axes="OI"), 9)  # (512 * 64)**-0.5
    0.005524272

    Tables, and a head that is one, have std 1; relative position biases width**-0.5. Names and scales as in
    transformers (T5PreTrainedModel). Raffel et al. 2019, arXiv 1910.10683.
    """
    by_fan = variance_scaling(1.0, "fan_in", "normal")
    return {
        required("*Attention.q.weight", "t5", "queries"): by_fan * integer(head_width, "head_width", least=1) ** -0.5,
        optional("*.relative_attention_bias.weight"): normal(std=integer(width, "width", least=1) ** -0.5),
        optional(named("shared", "lm_head")): normal(),
        optional("*:kernel"): by_fan,
    }


def mamba(layers: int | None = None, std: float = 0.1, low: float = 1e-3, high: float = 0.1) -> Rules:
    """Mamba: the real part of S4D, step sizes log-uniform in [low, high], and what PyTorch has for its convolutions.

    >>> mamba()["*.A_log"](Parameter("A_log", (2, 4))).array[0]
    array([0.       , 0.6931472, 1.0986123, 1.3862944], dtype=float32)

    `layers` divides the outputs of the residual branches by sqrt(layers); None does not. Names and scales as in
    transformers (MambaPreTrainedModel); the authors' code leaves the projections, here normal, to PyTorch.
    The convolution is depthwise: its axes are "(channels O)IK". Gu, Dao 2023, arXiv 2312.00752.
    """
    bound = variance_scaling(1 / 3, "fan_in", "uniform")  # within 1 / sqrt(fan_in)
    depth = 1.0 if layers is None else integer(layers, "layers", least=1) ** -0.5
    return {
        "*.A_log": _log_states,
        "*.D": ones,
        "*.dt_proj.weight": bound,
        "*.dt_proj.bias": inverse_softplus(log_uniform(low, high)),
        "*.conv1d.weight": bound,
        required("*.out_proj.weight", "mamba", RESIDUAL): bound * depth,
        optional("*:kernel"): normal(std=std),
        optional("*:table"): normal(std=std),
    }


def _log_states(parameter: Parameter) -> Values:
    """log(1..n) over the last axis, the states of each channel."""
    return values(np.broadcast_to(np.log(np.arange(1, parameter.shape[-1] + 1)), parameter.shape).astype("float32"))


def switch(scale: float = 0.1) -> Rules:
    """Switch Transformer: truncated normal of variance scale / fan_in, experts and router too.

    >>> round(switch()["*:kernel"].std((64, 768, 3072), axes="BIO"), 9)
    0.011410887

    A tenth of the usual scale, which is of the variance, trains more stably. Each expert has its own fans where the
    axes of a stack of them are known ("BIO"). Tables have std 1, and relative position biases are Glorot uniform, as in
    the T5 of its authors' library T5X. Fedus, Zoph, Shazeer 2021, arXiv 2101.03961, section 2.4.
    """
    return {
        optional("*.relative_attention_bias.weight"): glorot_uniform,
        "*:kernel": variance_scaling(scale, "fan_in", "truncated_normal"),
        optional("*:table"): normal(),
    }

"""Recipes of LLaMA and similar models, trained from scratch: the four recipes of OLMo-core."""

from typing import Any

from .._arguments import integer
from ..plans.parameter import Parameter
from ..schemes._normal import normal, truncated_normal
from ..schemes.initializer import Initializer
from .rules import Rules, kernels_and_tables, named, optional, outputs

# In torchtitan, OLMo-core and transformers.
_NAMES = ("attention.wo", "attention.w_out", "self_attn.o_proj", "feed_forward.w2", "mlp.down_proj")
_OUTPUTS = named(*_NAMES)
_OUTPUTS_AND_UP = named(*_NAMES, "feed_forward.w3", "mlp.up_proj")
_HEAD = ("output", "lm_head", "lm_head.w_out")


def cut(std: float) -> Initializer:
    """Return a normal distribution, truncated at 3 sigmas."""
    return truncated_normal(std=std, low=-3 * std, high=3 * std)


def llama(layers: int, width: int, std: float = 0.02, *, tied: bool = False, residual: Any = _OUTPUTS_AND_UP) -> Rules:
    """Return the rules of LLaMA: the std of residual outputs and up projections is divided by sqrt(2 layers).

    Tables have std 1, and the head has std width**-0.5. A table that is tied to the head has std width**-0.5. Only
    tables that are not tied are normal. All other weights are truncated at 3 sigmas. The names follow torchtitan,
    OLMo-core and transformers. The rules follow OLMo-core's `InitMethod.llama`. torchtitan's llama3 (with depth_init
    off) truncates only the head.

    Args:
        layers: the number of layers.
        width: the width of the model.
        std: the std of other kernels.
        tied: True for a model whose head is its table.
        residual: the pattern of the outputs of residual branches and of up projections.

    Returns:
        Rules by pattern, for `rules=`.

    Raises:
        ValueError: an integer argument is below 1.

    Example:
        >>> residual, head, kernel, table = llama(32, 4096).values()
        >>> residual, table
        (truncated_normal(mean=0.0, std=0.0025, low=-0.0075, high=0.0075), normal(mean=0.0, std=1.0))

    Reference:
        OLMo-core, `InitMethod.llama`. https://github.com/allenai/OLMo-core
    """
    smaller = cut(std * (2 * integer(layers, "layers", least=1)) ** -0.5)
    return {outputs(residual, "llama", layers): smaller, **_others(width, std, tied)}


def llama_depth(width: int, std: float = 0.02, *, tied: bool = False, residual: Any = _OUTPUTS_AND_UP) -> Rules:
    """Return the rules of LLaMA by depth: as `llama`, with the std in layer i divided by sqrt(2 (i + 1)).

    i is the first integer in the parameter's name. The division is for residual outputs and up projections. The rules
    follow OLMo-core's `InitMethod.llama_depth` and torchtitan's llama3.

    Args:
        width: the width of the model.
        std: the std of other kernels.
        tied: True for a model whose head is its table.
        residual: the pattern of the outputs of residual branches and of up projections.

    Returns:
        Rules by pattern, for `rules=`.

    Raises:
        ValueError: an integer argument is below 1.

    Example:
        >>> residual = next(iter(llama_depth(4096).values()))
        >>> residual(Parameter("layers.7.attention.wo.weight", (4096, 4096)))
        truncated_normal(mean=0.0, std=0.005, low=-0.015, high=0.015)

    Reference:
        OLMo-core, `InitMethod.llama_depth`. https://github.com/allenai/OLMo-core
    """

    def by_depth(parameter: Parameter) -> Initializer:
        return cut(std * (2 * (parameter.indices[0] + 1)) ** -0.5)

    return {outputs(residual, "llama_depth"): by_depth, **_others(width, std, tied)}


def _others(width: int, std: float, tied: bool) -> Rules:
    """Return the rules of the head, of tables and of other kernels."""
    head = cut(integer(width, "width", least=1) ** -0.5)
    if tied:
        return kernels_and_tables(cut(std), head)
    return {optional(named(*_HEAD)): head, **kernels_and_tables(cut(std), normal())}


def olmo_normal(std: float = 0.02) -> Rules:
    """Return the rules of OLMo-core's `InitMethod.normal`: one normal distribution, truncated at 3 sigmas.

    Args:
        std: the std before truncation.

    Returns:
        Rules by pattern, for `rules=`.

    Example:
        >>> olmo_normal()["*:kernel"]
        truncated_normal(mean=0.0, std=0.02, low=-0.06, high=0.06)

    Reference:
        OLMo-core, `InitMethod.normal`. https://github.com/allenai/OLMo-core
    """
    return {"*:kernel": cut(std), optional("*:table"): cut(std)}


def normalized(layers: int, width: int, residual: Any = _OUTPUTS) -> Rules:
    """Return the rules of nGPT: std width**-0.5, divided by sqrt(2 layers) for residual outputs.

    Tables are normal, and all other weights are truncated at 3 sigmas. The names are as in `llama`. The rules follow
    OLMo-core's `InitMethod.normalized`.

    Args:
        layers: the number of layers.
        width: the width of the model.
        residual: the pattern of the outputs of residual branches.

    Returns:
        Rules by pattern, for `rules=`.

    Raises:
        ValueError: an integer argument is below 1.

    Example:
        >>> normalized(8, 1024)["*:table"]
        normal(mean=0.0, std=0.03125)

    Reference:
        Loshchilov, Hsieh, Sun, Ginsburg. nGPT: normalized transformer. 2024. arXiv:2410.01131.
    """
    std = integer(width, "width", least=1) ** -0.5
    smaller = cut(std * (2 * integer(layers, "layers", least=1)) ** -0.5)
    return {outputs(residual, "normalized", layers): smaller, **kernels_and_tables(cut(std), normal(std=std))}

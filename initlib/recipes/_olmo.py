"""Recipes of OLMo and OLMo-core, truncated at 3 sigmas as in their code."""

from typing import Any

from .._arguments import integer
from ..axes import fans
from ..plans.parameter import Parameter
from ..schemes._normal import normal
from ..schemes.initializer import Initializer
from ._llama import cut
from .rules import Rules, kernels_and_tables, named, optional, outputs

_OUTPUTS = named(
    *("attn_out", "ff_out"),  # OLMo
    *("attention.w_out", "feed_forward.w2"),  # OLMo-core
    *("self_attn.o_proj", "mlp.down_proj"),  # transformers
)
_HEAD = named("transformer.ff_out", "lm_head", "lm_head.w_out")


def _by_fan_in(parameter: Parameter) -> Initializer:
    return cut(fans(parameter.shape, parameter.axes).fan_in ** -0.5)


def mitchell(width: int, residual: Any = _OUTPUTS) -> Rules:
    """Return the rules of OLMo's "mitchell": std fan_in**-0.5, with a smaller std for residual outputs.

    The std of a residual output in layer i is (2 fan_in (i + 1))**-0.5. i is the first integer in the parameter's name.
    Tables have std width**-0.5. All weights are truncated at 3 sigmas.

    Args:
        width: the width of the residual stream, at least 1.
        residual: the pattern of the outputs of residual branches; by default the names of OLMo, OLMo-core and
            transformers.

    Returns:
        Rules for the head, residual outputs, kernels and tables.

    Raises:
        ValueError: the width is below 1.

    Example:
        >>> head, output, kernel, table = mitchell(1024).values()
        >>> output(Parameter("blocks.7.attn_out.weight", (1024, 1024), axes="OI", kind="kernel"))
        truncated_normal(mean=0.0, std=0.0078125, low=-0.0234375, high=0.0234375)

    Reference:
        Groeneveld et al. OLMo: accelerating the science of language models. 2024. arXiv:2402.00838. The rules follow
        OLMo's `InitFnType.mitchell`.
    """

    def output(parameter: Parameter) -> Initializer:
        return cut((2 * fans(parameter.shape, parameter.axes).fan_in * (parameter.indices[0] + 1)) ** -0.5)

    return {
        optional(_HEAD): _by_fan_in,
        outputs(residual, "mitchell"): output,
        **kernels_and_tables(_by_fan_in, cut(integer(width, "width", least=1) ** -0.5)),
    }


def full_megatron(layers: int, width: int, std: float = 0.02, residual: Any = _OUTPUTS) -> Rules:
    """Return the rules of OLMo's "full_megatron": one std, divided by sqrt(2 layers) for residual outputs.

    The head has std width**-0.5. All weights are truncated at 3 sigmas.

    Args:
        layers: the number of transformer layers, at least 1.
        width: the width of the residual stream, at least 1.
        std: the std of the other kernels and of the tables.
        residual: the pattern of the outputs of residual branches; by default the names of OLMo, OLMo-core and
            transformers.

    Returns:
        Rules for the head, residual outputs, kernels and tables.

    Raises:
        ValueError: the width or the number of layers is below 1.

    Example:
        >>> head, residual, kernel, table = full_megatron(32, 4096).values()
        >>> residual
        truncated_normal(mean=0.0, std=0.0025, low=-0.0075, high=0.0075)

    Reference:
        Groeneveld et al. OLMo: accelerating the science of language models. 2024. arXiv:2402.00838. The rules follow
        OLMo's `InitFnType.full_megatron`, which follows metaseq.
    """
    smaller = cut(std * (2 * integer(layers, "layers", least=1)) ** -0.5)
    return {
        optional(_HEAD): cut(integer(width, "width", least=1) ** -0.5),
        outputs(residual, "full_megatron", layers): smaller,
        **kernels_and_tables(cut(std), cut(std)),
    }


def olmo_fan_in() -> Rules:
    """Return the rules of OLMo-core's "fan_in": std fan_in**-0.5 for every kernel (the head too), and 1 for tables.

    Kernels are truncated at 3 sigmas.

    Returns:
        Rules for kernels and tables.

    Example:
        >>> olmo_fan_in()["*:kernel"](Parameter("w", (64, 256), axes="OI", kind="kernel"))
        truncated_normal(mean=0.0, std=0.0625, low=-0.1875, high=0.1875)

    Reference:
        OLMo-core, `InitMethod.fan_in`. https://github.com/allenai/OLMo-core
    """
    return kernels_and_tables(_by_fan_in, normal())

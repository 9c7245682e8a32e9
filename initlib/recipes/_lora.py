"""Recipe of low-rank adapters."""

from .._arguments import integer
from ..schemes._constant import zeros
from ..schemes._normal import normal
from ..schemes._variance import variance_scaling
from .rules import Rules, optional, required


def lora(rank: int | None = None) -> Rules:
    """Return the rules of LoRA's factors: A is uniform within 1 / sqrt(fan_in), and B is 0.

    For embeddings, A is 0 and B is normal with std 1, as in PEFT.

    The rank-stabilized variant (rsLoRA) multiplies the product by alpha / sqrt(rank) instead of alpha / rank, and
    starts from the same factors. Put a rule for the frozen weights, such as `{"*": keep}`, after these rules.

    Args:
        rank: if given, A of linear layers is normal with std 1 / rank (PEFT's "gaussian").

    Returns:
        Rules for the factors of linear layers and of embeddings, with PEFT's names.

    Raises:
        ValueError: the rank is below 1.

    Example:
        >>> rules = lora()
        >>> round(rules["*lora_A.*"].bounds((8, 64), "OI")[1], 9)  # 1 / sqrt(64)
        0.125
        >>> rules["*lora_B.*"]
        constant(value=0.0)

    Reference:
        Hu et al. LoRA: low-rank adaptation of large language models. 2021. arXiv:2106.09685. The rules follow PEFT.
        Kalajdzievski. A rank stabilization scaling factor for fine-tuning with LoRA. 2023. arXiv:2312.03732.
    """
    bound = variance_scaling(1 / 3, "fan_in", "uniform")
    factor = bound if rank is None else normal(std=1 / integer(rank, "rank", least=1))
    return {
        optional("*lora_embedding_A*"): zeros,
        optional("*lora_embedding_B*"): normal(),
        required("*lora_A.*", "lora", "factors A"): factor,
        required("*lora_B.*", "lora", "factors B"): zeros,
    }

"""Classes of other libraries whose parameters have known axes: a line for each, matched by name, without an import.

A pattern matches the module and the name of a class, joined by a dot; the first pattern that matches counts. Parameters
that a constructor draws as a kernel have axes here; `bias_of` names the weight whose fan_in bounds the bias that the
constructor draws, as in `torch.nn.Linear`. The names of norms do not tell where their scale starts: at 1 in most norms,
at 0 in those that multiply by 1 + scale.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from initlib.plans.rules.glob import glob


class KnownClass(NamedTuple):
    """Axes of the kernels of a class, the names of its scales, and the weight that bounds its drawn bias."""

    axes: Mapping[str, str] = {}
    scales: tuple[str, ...] = ()
    bias_of: str | None = None


_PYG = "torch_geometric.*"
_NORM = KnownClass(scales=("weight", "scale", "gamma"))

KNOWN_CLASSES: dict[str, KnownClass] = {
    # PyTorch Geometric
    f"{_PYG}.dna_conv.Linear": KnownClass({"weight": "BIO"}),
    f"{_PYG}.Linear": KnownClass({"weight": "OI"}, bias_of="weight"),
    f"{_PYG}.HeteroLinear": KnownClass({"weight": "BIO"}, bias_of="weight"),
    f"{_PYG}.GATConv": KnownClass({"att_src": "BBI", "att_dst": "BBI", "att_edge": "BBI"}),
    f"{_PYG}.GATv2Conv": KnownClass({"att": "BBI"}),
    f"{_PYG}.SuperGATConv": KnownClass({"att_l": "BBI", "att_r": "BBI"}),
    f"{_PYG}.HypergraphConv": KnownClass({"att": "BBI"}),
    f"{_PYG}.GeneralConv": KnownClass({"att_msg": "BBI"}),
    f"{_PYG}.RGCNConv": KnownClass({"weight": "BIO", "root": "IO"}),
    f"{_PYG}.FastRGCNConv": KnownClass({"weight": "BIO", "root": "IO"}),
    f"{_PYG}.RGATConv": KnownClass({"weight": "BIO", "q": "IO", "k": "IO"}),
    f"{_PYG}.GatedGraphConv": KnownClass({"weight": "BIO"}),
    f"{_PYG}.ARMAConv": KnownClass({"init_weight": "BIO", "weight": "BBIO", "root_weight": "BBIO"}),
    f"{_PYG}.GMMConv": KnownClass({"g": "IO"}),
    f"{_PYG}.AntiSymmetricConv": KnownClass({"W": "OI"}),
    f"{_PYG}.SparseLinear": KnownClass({"weight": "IO"}),
    f"{_PYG}.DeepGraphInfomax": KnownClass({"weight": "OI"}),
    f"{_PYG}.InteractionBlock": KnownClass({"W": "OII"}),
    # transformers
    "*.Conv1D": KnownClass({"weight": "IO"}),
    "transformers.*Router": KnownClass({"weight": "OI"}),
    "transformers.*GptOssExperts": KnownClass({"gate_up_proj": "BI(2 O)", "down_proj": "BIO"}),
    "transformers.*OpenAIPrivacyFilterExperts": KnownClass({"gate_up_proj": "BI(2 O)", "down_proj": "BIO"}),
    "transformers.*Llama4TextExperts": KnownClass({"gate_up_proj": "BI(2 O)", "down_proj": "BIO"}),
    "transformers.*AriaExperts": KnownClass({"gate_up_proj": "BI(2 O)", "down_proj": "BIO"}),
    "transformers.*ParallelExperts": KnownClass({"weight": "BOI"}),
    "transformers.*Experts": KnownClass(
        {"gate_up_proj": "B(2 O)I", "gate_proj": "BOI", "up_proj": "BOI", "down_proj": "BOI"}
    ),
    # norms of every library: RMSNorm, LlamaRMSNorm, LayerNorm2d, …
    "*Norm": _NORM,
    "*Norm?d": _NORM,
}


@lru_cache(maxsize=1024)
def known_class(cls: type) -> KnownClass | None:
    """Return the known axes of a class, by its module and name."""
    name = f"{cls.__module__}.{cls.__name__}"
    return next((known for pattern, known in KNOWN_CLASSES.items() if glob(pattern).matches(name)), None)

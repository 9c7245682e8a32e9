"""Recipes: published initializations of models, as rules for a plan. No recipe is applied by default."""

import warnings
from typing import TYPE_CHECKING, Any

from .._later import later

# Old names of recipes, which are also names of initializers. The next release removes the old names.
_RENAMED = {"normal": "olmo_normal", "siren": "siren_network"}

if TYPE_CHECKING:
    from ._later_recipes import *
else:
    _load, __dir__ = later(globals(), ("_later_recipes",))

    def __getattr__(name: str) -> Any:
        if name in _RENAMED:
            warnings.warn(f"recipes.{name} is now recipes.{_RENAMED[name]}", DeprecationWarning, stacklevel=2)
        return _load(_RENAMED.get(name, name))


__all__ = [
    "analytic",
    "bert",
    "completep",
    "deepnorm",
    "fixup",
    "full_megatron",
    "gated_deltanet",
    "gpt2",
    "grow_depth",
    "grow_vocabulary",
    "grow_width",
    "input_channels",
    "layer_scale",
    "llama",
    "llama_depth",
    "lora",
    "lstm",
    "mamba",
    "mamba2",
    "mamba3",
    "mitchell",
    "mup",
    "nanochat",
    "normalized",
    "olmo_fan_in",
    "olmo_normal",
    "olora",
    "pissa",
    "resnet",
    "rezero",
    "rg_lru",
    "siren_network",
    "small_init",
    "switch",
    "t5",
    "torch_default",
    "upcycle",
    "vit",
    "vit_jax",
    "wang",
    "xlstm",
]

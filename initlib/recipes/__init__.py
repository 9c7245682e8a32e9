"""Recipes: published initializations of models, as rules for a plan. No recipe is applied by default."""

import warnings
from typing import Any

from ._branches import layer_scale, rezero
from ._growth.grow_depth import grow_depth
from ._growth.grow_vocabulary import grow_vocabulary
from ._growth.grow_width import grow_width
from ._growth.input_channels import input_channels
from ._growth.upcycle import upcycle
from ._lora import lora
from ._mup.mup import completep, mup
from ._nanochat import nanochat
from ._olmo import full_megatron, mitchell, olmo_fan_in
from ._pissa import olora, pissa
from ._small_init import small_init, wang
from ._state_space import gated_deltanet, mamba2, mamba3, rg_lru
from ._xlstm import xlstm
from .analytic import analytic
from .general import deepnorm, siren_network
from .language import bert, gpt2, mamba, switch, t5
from .llama import llama, llama_depth, normalized, olmo_normal
from .pytorch import torch_default
from .recurrent import lstm
from .vision import fixup, resnet, vit, vit_jax

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

# Their names were those of initializers; the old names go with the next release.
_RENAMED = {"normal": "olmo_normal", "siren": "siren_network"}


def __getattr__(name: str) -> Any:
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"recipes.{name} is now recipes.{_RENAMED[name]}", DeprecationWarning, stacklevel=2)
    return globals()[_RENAMED[name]]

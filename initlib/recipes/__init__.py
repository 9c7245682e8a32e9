"""Recipes: published initializations of models, as rules for a plan. You ask for each by name."""

import warnings
from typing import Any

from .analytic import analytic
from .general import deepnorm, mup, siren_network
from .language import bert, gpt2, mamba, switch, t5
from .llama import llama, llama_depth, normalized, olmo_normal
from .pytorch import torch_default
from .recurrent import lstm
from .vision import fixup, resnet, vit, vit_jax

__all__ = [
    "analytic",
    "bert",
    "deepnorm",
    "fixup",
    "gpt2",
    "llama",
    "llama_depth",
    "lstm",
    "mamba",
    "mup",
    "normalized",
    "olmo_normal",
    "resnet",
    "siren_network",
    "switch",
    "t5",
    "torch_default",
    "vit",
    "vit_jax",
]

# Their names were those of initializers; the old names go with the next release.
_RENAMED = {"normal": "olmo_normal", "siren": "siren_network"}


def __getattr__(name: str) -> Any:
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"recipes.{name} is now recipes.{_RENAMED[name]}", DeprecationWarning, stacklevel=2)
    return globals()[_RENAMED[name]]

"""Recipes: published initializations of models, as rules for a plan. Nothing is guessed: one is asked for by name."""

from .analytic import analytic
from .general import deepnorm, mup, siren
from .language import bert, gpt2, mamba, switch, t5
from .llama import llama, llama_depth, normal, normalized
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
    "normal",
    "normalized",
    "resnet",
    "siren",
    "switch",
    "t5",
    "torch_default",
    "vit",
    "vit_jax",
]

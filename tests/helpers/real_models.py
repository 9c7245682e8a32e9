"""Real models of transformers and timm, each with the few rules that state its own initialization."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torchvision_names  # noqa: F401

import initlib
import initlib.adapters.torch as init
from initlib import keep, normal, values, variance_scaling

VOCABULARY = 211
SMALL = normal(std=0.02)
# The distribution from which constructors of torch.nn draw kernels: within 1 / sqrt(fan_in).
TORCH = variance_scaling(1 / 3, "fan_in", "uniform")
HE = variance_scaling(2, "fan_out", "normal")
TINY = {"vocab_size": VOCABULARY, "bos_token_id": 1, "eos_token_id": 2}
LAYERS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}


class Record(NamedTuple):
    """A model, the arguments of `initialize`, and the parameters that the package initializes in another way."""

    build: Any
    batch: Any
    rules: Any = None
    axes: Any = None
    default: Any = SMALL
    unlike: tuple[str, ...] = ()
    surprise: float = 0.1  # how far the first loss may be from that of a uniform guess


def transformers(model, config, **arguments):
    def build():
        package = pytest.importorskip("transformers")
        return getattr(package, model)(getattr(package, config)(**arguments)).eval()

    return build


def timm(name, **arguments):
    def build():
        return pytest.importorskip("timm").create_model(name, num_classes=10, **arguments)

    return build


def language():
    tokens = torch.randint(4, VOCABULARY, (4, 24))
    return {"input_ids": tokens, "labels": tokens}


def speech():
    return {"input_features": torch.randn(2, 16, 100), "labels": language()["labels"][:2]}


def pictures(size):
    def batch():
        return {"pixel_values": torch.randn(4, 3, size, size), "labels": torch.arange(4) % 2}

    return batch


def log_states(parameter):
    """Return Mamba's first value of A: the states decay at the rates 1 to n (Gu, Dao 2023, arXiv 2312.00752)."""
    return values(np.broadcast_to(np.log(np.arange(1, parameter.shape[1] + 1)), parameter.shape))


RECORDS = {
    "gpt2": Record(
        transformers("GPT2LMHeadModel", "GPT2Config", n_layer=2, n_head=2, n_embd=32, n_positions=64, **TINY),
        language,
        {"*.c_proj.weight": SMALL * 4**-0.5},
        {"*.c_attn.weight": "I(3 O)"},
    ),
    "llama": Record(
        transformers(
            "LlamaForCausalLM", "LlamaConfig", tie_word_embeddings=True, pad_token_id=0, **LAYERS, **HEADS, **TINY
        ),
        language,
        unlike=("model.embed_tokens.weight",),  # its padding row
    ),
    "bert": Record(
        transformers("BertForMaskedLM", "BertConfig", num_attention_heads=4, **LAYERS, **TINY),
        language,
    ),
    "mixtral": Record(
        transformers("MixtralForCausalLM", "MixtralConfig", num_local_experts=4, **LAYERS, **HEADS, **TINY),
        language,
        axes={"*.gate_up_proj": "B(2 O)I", "*.down_proj": "BOI", "*.gate.weight": "OI"},
    ),
    "mamba": Record(
        transformers("MambaForCausalLM", "MambaConfig", hidden_size=32, state_size=8, num_hidden_layers=2, **TINY),
        language,
        {
            "*.A_log": log_states,
            "*.dt_proj.weight": TORCH,
            "*.dt_proj.bias": initlib.inverse_softplus(initlib.log_uniform(1e-3, 0.1)),
            "*.conv1d.weight": TORCH,
            "*.out_proj.weight": TORCH,
        },
        default=normal(std=0.1),
        surprise=0.3,  # from a table of std 0.1, tied to the head: so it is with the package's own start
    ),
    "vit": Record(
        transformers(
            "ViTForImageClassification",
            "ViTConfig",
            num_attention_heads=4,
            image_size=32,
            patch_size=8,
            **LAYERS,
        ),
        pictures(32),
    ),
    "whisper": Record(
        transformers(
            "WhisperForConditionalGeneration",
            "WhisperConfig",
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            num_mel_bins=16,
            max_source_positions=50,
            max_target_positions=40,
            pad_token_id=0,
            decoder_start_token_id=3,
            **TINY,
        ),
        speech,
        {"*.encoder.embed_positions.weight": keep},
    ),
    "resnet50": Record(timm("resnet50"), pictures(32), {"fc.weight": TORCH}, default=HE),
    "vit_tiny": Record(
        timm("vit_tiny_patch16_224", img_size=32),
        pictures(32),
        {"cls_token": normal(std=1e-6), "patch_embed.proj.weight": TORCH},
    ),
    "convnext": Record(timm("convnext_atto"), pictures(32)),
    "efficientnet": Record(
        timm("efficientnet_b0"),
        pictures(32),
        {"classifier.weight": variance_scaling(1 / 3, "fan_out", "uniform")},
        default=HE,
    ),
    "swin": Record(
        timm("swin_tiny_patch4_window7_224", img_size=56, embed_dim=24, depths=(2, 2), num_heads=(2, 4), window_size=7),
        pictures(56),
        {"patch_embed.proj.weight": TORCH},
    ),
}

SEEDS = (0, 1, 2)


def initialized(record, model, **more):
    return init.initialize(model, record.rules, 0, default=record.default, axes=record.axes, **more)


def start(model):
    """Run the model's own initialization."""
    if hasattr(model, "init_weights"):
        model.init_weights()
    else:
        for part in model.modules():
            getattr(part, "reset_parameters", lambda: None)()

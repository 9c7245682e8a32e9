"""Full networks: `initialize` against the network's own package, each model in a process of its own.

Alone: `python -m benchmarks --only networks`.
"""

import json
import subprocess
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from initlib import he_normal, normal, recipes

from .measure import Task, interleaved
from .peers import OURS

OWN, BUILT, JITTED, ANYINIT = "its own init_weights", "built by Keras", "its own init, jitted", "AnyInit"
WAYS = (OURS, OWN, BUILT, JITTED, ANYINIT)
PLAN = "planning, cold, a parameter"

GPT2, LLAMA = "GPT-2 124M, transformers", "LLaMA 1.2B in bfloat16, transformers"
RESNET, VIT = "ResNet-50, timm", "ViT-B/16, timm"
KERAS_RESNET, FLAX_GPT2 = "ResNet-50, keras.applications", "GPT-2 124M, Flax"
MLP, CONVNET = "MLP of 8 layers of 1024", "convnet of 8 layers of 256"

Build = Callable[[], Any]  # makes the model, as its package initializes it
Case = tuple[tuple[str, ...], Callable[[], dict[str, float]]]

KEPT: list[Any] = []  # operators that torchvision finds as long as these are there


def networks(full: bool) -> dict[str, dict[str, float]]:
    """Measure the seconds to initialize a network, in place where its framework allows it."""
    return _in_processes("measured", {case: packages for case, (packages, _) in CASES.items()})


def measured(case: str) -> dict[str, float]:
    """Return the figures of one case, measured in this process."""
    return CASES[case][1]()


def construction(full: bool) -> dict[str, dict[str, float]]:
    """Measure the seconds from the class of a network to an initialized model."""
    return _in_processes("constructed", {case: packages for case, (packages, _, _) in TORCH_NETWORKS.items()})


def constructed(case: str) -> dict[str, float]:
    """Return the seconds of the network's own constructor, and of a skeleton and `initialize`, in this process."""
    import initlib.adapters.torch as init

    _, builder, rules = TORCH_NETWORKS[case]
    build, rules = builder(), rules()

    def ours() -> Any:
        with init.skeleton():
            model = build()
        init.initialize(model, rules, seed=0, device="cpu")
        return model

    return interleaved({OURS: ours, OWN: build}, rounds=5, budget=90)


def _in_processes(function: str, cases: dict[str, tuple[str, ...]]) -> dict[str, dict[str, float]]:
    """Call a function of this module for each case whose packages are installed, in a process of its own."""
    results = {}
    for case, packages in cases.items():
        if all(map(find_spec, packages)):
            program = f"import json; from benchmarks import networks; print(json.dumps(networks.{function}({case!r})))"
            ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
            if ran.returncode:
                raise RuntimeError(ran.stderr)
            results[case] = json.loads(ran.stdout.splitlines()[-1])
    return results


def _torch(model: Any, rules: Any, default: Any = None) -> dict[str, float]:
    """Measure a PyTorch model in place, and its plan, the first in the process."""
    import initlib.adapters.torch as init

    plan = init.plan  # loads what all plans need
    start = time.perf_counter()
    plan(model, rules, default=default)
    planned = (time.perf_counter() - start) / len(list(model.parameters()))

    def own() -> None:
        for module in (*model.modules(), *model.parameters()):
            module.__dict__.pop("_is_hf_initialized", None)  # otherwise transformers skips this module
        model.init_weights()

    tasks: dict[str, Task] = {OURS: lambda: init.initialize(model, rules, seed=0, default=default), OWN: own}
    return {**interleaved(tasks, rounds=5, budget=60), PLAN: planned}


def _define_vision_operators() -> None:
    """Define operators that torchvision needs to be imported where its wheel does not fit PyTorch's.

    Nothing here calls these operators.
    """
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    KEPT.append(library)


def _gpt2() -> Build:
    _define_vision_operators()
    from transformers import GPT2Config, GPT2LMHeadModel

    return lambda: GPT2LMHeadModel(GPT2Config())


def _llama() -> Build:
    _define_vision_operators()
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_default_dtype(torch.bfloat16)
    return lambda: LlamaForCausalLM(
        LlamaConfig(
            vocab_size=128256,
            hidden_size=2048,
            intermediate_size=8192,
            num_hidden_layers=16,
            num_attention_heads=32,
            num_key_value_heads=8,
            tie_word_embeddings=True,
        )
    )


def _timm(name: str) -> Build:
    _define_vision_operators()
    import timm

    return lambda: timm.create_model(name)


def _keras_resnet() -> dict[str, float]:
    """Measure the build of a model whose weights are then replaced, and the initialization."""
    import keras

    import initlib.adapters.keras as init

    def build() -> Any:
        return keras.applications.ResNet50(weights=None)

    model = build()
    return interleaved({OURS: lambda: init.initialize(model, he_normal, seed=0), BUILT: build}, rounds=3)


def _flax_gpt2() -> dict[str, float]:
    """Measure a cold start: JAX's compiled functions are cleared before each run."""
    import jax
    import jax.numpy as jnp
    from flax import linen as nn

    import initlib.adapters.jax as init

    small = nn.initializers.normal(0.02)

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = x + nn.MultiHeadDotProductAttention(12, kernel_init=small)(nn.LayerNorm()(x))
            hidden = nn.gelu(nn.Dense(4 * 768, kernel_init=small)(nn.LayerNorm()(x)))
            return x + nn.Dense(768, kernel_init=small)(hidden)

    class GPT2(nn.Module):
        @nn.compact
        def __call__(self, tokens: Any) -> Any:
            table = nn.Embed(50257, 768, embedding_init=small)
            positions = nn.Embed(1024, 768, embedding_init=nn.initializers.normal(0.01))
            x = table(tokens) + positions(jnp.arange(tokens.shape[1]))
            for _ in range(12):
                x = Block()(x)
            return table.attend(nn.LayerNorm()(x))

    model, tokens = GPT2(), jnp.zeros((1, 8), jnp.int32)

    def own() -> Any:
        jax.clear_caches()
        return jax.block_until_ready(jax.jit(model.init)(jax.random.key(0), tokens))

    def by_initlib() -> Any:
        jax.clear_caches()
        shapes = jax.eval_shape(model.init, jax.random.key(0), tokens)
        return jax.block_until_ready(init.initialize(shapes, normal(std=0.02), seed=0))

    return interleaved({OURS: by_initlib, JITTED: own}, rounds=3)


INSERTED = "later layers that an inserted layer changes, {}"


def _anyinit(make: Callable[[bool], Any]) -> dict[str, float]:
    """Count the layers whose weights change when a layer is inserted after the first one."""
    import anyinit

    import initlib.adapters.torch as init

    ways: dict[str, Callable[[Any], Any]] = {
        OURS: lambda model: init.initialize(model, he_normal, seed=0),
        ANYINIT: lambda model: anyinit.initialize(model, seed=0),
    }
    model = make(False)
    results = interleaved({way: lambda fill=fill: fill(model) for way, fill in ways.items()}, rounds=5)
    for way, fill in ways.items():
        weights = []
        for inserted in (False, True):
            network = make(inserted)
            fill(network)
            weights.append([layer.weight.detach().numpy() for layer in network if hasattr(layer, "weight")])
        plain, longer = weights
        changed = [not np.array_equal(a, b) for a, b in zip(plain[1:], longer[-len(plain) + 1 :], strict=True)]
        results[INSERTED.format(way)] = sum(changed) / len(changed)
    return results


def _named(layers: list[Any], inserted: list[Any]) -> Any:
    """Return a sequence with named layers, so that an insertion renames none."""
    from torch import nn

    named = [(f"layer{k}", layer) for k, layer in enumerate(layers)]
    extra = [(f"inserted{k}", layer) for k, layer in enumerate(inserted)]
    return nn.Sequential(OrderedDict(named[:2] + extra + named[2:]))


def _mlp(inserted: bool) -> Any:
    from torch import nn

    layers = [layer for _ in range(8) for layer in (nn.Linear(1024, 1024), nn.ReLU())]
    return _named(layers, [nn.Linear(1024, 1024), nn.ReLU()] if inserted else [])


def _convnet(inserted: bool) -> Any:
    from torch import nn

    def block(channels: int) -> list[Any]:
        return [nn.Conv2d(channels, 256, 3, padding=1), nn.ReLU()]

    return _named([*block(3), *(layer for _ in range(7) for layer in block(256))], block(256) if inserted else [])


# The packages, a function that imports them and returns the constructor, and a function that returns the rules.
TORCH_NETWORKS: dict[str, tuple[tuple[str, ...], Callable[[], Build], Callable[[], Any]]] = {
    GPT2: (("torch", "transformers"), _gpt2, lambda: recipes.gpt2(12)),
    VIT: (("torch", "timm"), lambda: _timm("vit_base_patch16_224"), recipes.vit),
    # As transformers has it.
    LLAMA: (("torch", "transformers"), _llama, lambda: dict.fromkeys(("*:kernel", "*:table"), normal(std=0.02))),
    RESNET: (("torch", "timm"), lambda: _timm("resnet50"), lambda: recipes.resnet(2048)),
}


def _case(packages: tuple[str, ...], builder: Callable[[], Build], rules: Callable[[], Any]) -> Case:
    return packages, lambda: _torch(builder()(), rules())


CASES: dict[str, Case] = {
    **{case: _case(*network) for case, network in TORCH_NETWORKS.items()},
    MLP: (("torch", "anyinit"), lambda: _anyinit(_mlp)),
    CONVNET: (("torch", "anyinit"), lambda: _anyinit(_convnet)),
    KERAS_RESNET: (("keras", "tensorflow"), _keras_resnet),
    FLAX_GPT2: (("jax", "flax"), _flax_gpt2),
}

"""Whole networks in their frameworks: ours against what builds them, compilation included.

Alone: `python -m benchmarks --only networks`.
"""

from importlib.util import find_spec
from typing import Any

from initlib import he_normal, normal

from .measure import interleaved
from .peers import OURS

BUILT, JITTED = "built by Keras", "its own init, jitted"
RESNET, GPT2 = "ResNet-50 of keras.applications", "GPT-2 124M of Flax"
VOCABULARY, LENGTH, WIDTH, LAYERS, HEADS = 50257, 1024, 768, 12, 12


def networks(full: bool) -> dict[str, dict[str, float]]:
    """Seconds to give a network its weights."""
    results = {}
    if find_spec("keras") and find_spec("tensorflow"):
        results[RESNET] = resnet50()
    if find_spec("flax"):
        results[GPT2] = gpt2()
    return results


def resnet50() -> dict[str, float]:
    """Built with weights that nobody keeps, as every program does that then loads or draws its own; and filled."""
    import initlib.adapters.keras as init
    import keras

    def build() -> Any:
        return keras.applications.ResNet50(weights=None)

    model = build()
    return interleaved({OURS: lambda: init.initialize(model, he_normal, seed=0), BUILT: build}, rounds=3)


def gpt2() -> dict[str, float]:
    """From nothing: what JAX has compiled is forgotten before each."""
    import initlib.adapters.jax as init
    import jax
    import jax.numpy as jnp
    from flax import linen as nn

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            small = nn.initializers.normal(0.02)
            mixed = nn.MultiHeadDotProductAttention(HEADS, kernel_init=small)(nn.LayerNorm()(x))
            x = x + mixed
            hidden = nn.gelu(nn.Dense(4 * WIDTH, kernel_init=small)(nn.LayerNorm()(x)))
            return x + nn.Dense(WIDTH, kernel_init=small)(hidden)

    class GPT2(nn.Module):
        @nn.compact
        def __call__(self, tokens: Any) -> Any:
            table = nn.Embed(VOCABULARY, WIDTH, embedding_init=nn.initializers.normal(0.02))
            positions = nn.Embed(LENGTH, WIDTH, embedding_init=nn.initializers.normal(0.01))
            x = table(tokens) + positions(jnp.arange(tokens.shape[1]))
            for _ in range(LAYERS):
                x = Block()(x)
            return table.attend(nn.LayerNorm()(x))

    model, tokens = GPT2(), jnp.zeros((1, 8), jnp.int32)

    def own() -> Any:
        jax.clear_caches()
        return jax.block_until_ready(jax.jit(model.init)(jax.random.key(0), tokens))

    def ours() -> Any:
        jax.clear_caches()
        shapes = jax.eval_shape(model.init, jax.random.key(0), tokens)
        return jax.block_until_ready(init.initialize(shapes, normal(std=0.02), seed=0))

    return interleaved({OURS: ours, JITTED: own}, rounds=3)

"""Models of Flax, and comparisons of trees."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

IMAGE = jnp.ones((2, 8, 8, 3))


def shape(*sizes, dtype="float32"):
    return jax.ShapeDtypeStruct(sizes, dtype)


def same(one, other):
    """Return whether two trees have one structure and the same bits."""
    return jax.tree.structure(one) == jax.tree.structure(other) and jax.tree.all(
        jax.tree.map(lambda a, b: a.dtype == b.dtype and np.array_equal(a, b), one, other)
    )


class Image(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.relu(linen.Conv(8, (3, 3))(x))
        x = linen.BatchNorm(use_running_average=True)(x)
        x = linen.Embed(16, 8, name="table")(jnp.zeros(x.shape[:2], int)) + x.mean(2)
        x = linen.MultiHeadDotProductAttention(num_heads=2)(linen.LayerNorm()(x))
        return linen.Dense(10)(x.mean(1))


class Block(nnx.Module):
    def __init__(self, width, rngs):
        self.norm = nnx.RMSNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, width, rngs=rngs, decode=False)
        self.split = nnx.LinearGeneral(width, (2, 3), rngs=rngs)


class Model(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(16, 8, rngs=rngs)
        self.blocks = nnx.List([Block(8, rngs) for _ in range(2)])
        self.conv = nnx.Conv(8, 16, (3, 3), feature_group_count=4, rngs=rngs)
        self.bn = nnx.BatchNorm(16, rngs=rngs)
        self.head = self.embed


def abstract():
    return nnx.eval_shape(lambda: Model(nnx.Rngs(0)))


def rnn(rngs):
    return nnx.RNN(nnx.SimpleCell(3, 4, rngs=rngs), rngs=rngs)


MODULES = {
    "BatchNorm": lambda rngs: nnx.BatchNorm(4, rngs=rngs),
    "Bidirectional": lambda rngs: nnx.Bidirectional(rnn(rngs), rnn(rngs), rngs=rngs),
    "Conv": lambda rngs: nnx.Conv(3, 4, (3, 3), rngs=rngs),
    "ConvTranspose": lambda rngs: nnx.ConvTranspose(3, 4, (3, 3), rngs=rngs),
    "Einsum": lambda rngs: nnx.Einsum("ab,bc->ac", (3, 4), (4,), rngs=rngs),
    "Embed": lambda rngs: nnx.Embed(5, 4, rngs=rngs),
    "GRUCell": lambda rngs: nnx.GRUCell(3, 4, rngs=rngs),
    "GroupNorm": lambda rngs: nnx.GroupNorm(4, 2, rngs=rngs),
    "InstanceNorm": lambda rngs: nnx.InstanceNorm(4, rngs=rngs),
    "LSTMCell": lambda rngs: nnx.LSTMCell(3, 4, rngs=rngs),
    "LayerNorm": lambda rngs: nnx.LayerNorm(4, rngs=rngs),
    "Linear": lambda rngs: nnx.Linear(3, 4, rngs=rngs),
    "LinearGeneral": lambda rngs: nnx.LinearGeneral(3, (2, 4), rngs=rngs),
    "LoRA": lambda rngs: nnx.LoRA(3, 2, 4, rngs=rngs),
    "LoRALinear": lambda rngs: nnx.LoRALinear(3, 4, lora_rank=2, rngs=rngs),
    "MultiHeadAttention": lambda rngs: nnx.MultiHeadAttention(2, 8, normalize_qk=True, rngs=rngs, decode=False),
    "OptimizedLSTMCell": lambda rngs: nnx.OptimizedLSTMCell(3, 4, rngs=rngs),
    "PReLU": lambda rngs: nnx.PReLU(),
    "RMSNorm": lambda rngs: nnx.RMSNorm(4, rngs=rngs),
    "RNN": rnn,
    "SimpleCell": lambda rngs: nnx.SimpleCell(3, 4, rngs=rngs),
    "SpectralNorm": lambda rngs: nnx.SpectralNorm(nnx.Linear(3, 4, rngs=rngs), rngs=rngs),
    "WeightNorm": lambda rngs: nnx.WeightNorm(nnx.Linear(3, 4, rngs=rngs), rngs=rngs),
}

"""One transformer in four frameworks, from one set of rules and one seed: the same weights, logits and first losses.

    python examples/one_transformer.py

A small decoder (grouped-query attention, RMS norms, a gated MLP, an output tied to the table), written as each
framework's users write it. PyTorch fuses query, key and value, and gate and up; Flax linen stacks its layers by `scan`;
Keras and Flax keep them apart. `RULES` says what fills the weights, each `rename` what they are called in it. Each runs
in a process of its own, and every weight is compared by bits.
"""

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from initlib import glorot_normal, normal, parts
from initlib.axes import canonical

SEED = 0
VOCABULARY, LENGTH, WIDTH, LAYERS = 64, 12, 32, 3
HEADS, GROUPS, HEAD, HIDDEN = 4, 2, 8, 48
EPSILON = 1e-6
RATE = 0.5

TOKENS = np.random.default_rng(1).integers(VOCABULARY, size=(4, LENGTH + 1), dtype=np.int32)
INPUTS, TARGETS = TOKENS[:, :-1], TOKENS[:, 1:]

# What fills the weights, in every framework.
RESIDUAL = glorot_normal * (2 * LAYERS) ** -0.5
RULES = {"blocks.*.attention.out": RESIDUAL, "blocks.*.down": RESIDUAL, "positions": normal(std=0.01)}
DEFAULT = glorot_normal  # of kernels; the table is normal(std=0.02), norms are 1


def torch_transformer():
    """Return the plan, the weights, the logits and the first losses of the transformer in PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional

    import initlib.adapters.torch as init

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv = nn.Linear(WIDTH, (HEADS + 2 * GROUPS) * HEAD, bias=False)
            self.out = nn.Linear(HEADS * HEAD, WIDTH, bias=False)

        def forward(self, x):
            heads = self.qkv(x).unflatten(-1, (-1, HEAD)).transpose(1, 2)
            q, k, v = heads.split((HEADS, GROUPS, GROUPS), dim=1)
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            return self.out(mixed.transpose(1, 2).flatten(2))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention_norm, self.mlp_norm = nn.RMSNorm(WIDTH, EPSILON), nn.RMSNorm(WIDTH, EPSILON)
            self.attention = Attention()
            self.gate_up = nn.Linear(WIDTH, 2 * HIDDEN, bias=False)
            self.down = nn.Linear(HIDDEN, WIDTH, bias=False)

        def forward(self, x):
            x = x + self.attention(self.attention_norm(x))
            gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
            return x + self.down(functional.silu(gate) * up)

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(VOCABULARY, WIDTH)
            self.positions = nn.Embedding(LENGTH, WIDTH)
            self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
            self.norm = nn.RMSNorm(WIDTH, EPSILON)
            self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, tokens):
            x = self.embed(tokens) + self.positions.weight
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x))

    fused = {
        "*.qkv": parts({"query": HEADS, "key": GROUPS, "value": GROUPS}),
        "*.gate_up": parts({"gate": 1, "up": 1}),
    }
    model = Transformer()
    plan = init.initialize(model, fused | RULES, SEED, default=DEFAULT, rename={"*.weight": "*"})
    weights = {name: tensor.detach().numpy().copy() for name, tensor in model.state_dict().items()}

    inputs, targets = torch.from_numpy(INPUTS).long(), torch.from_numpy(TARGETS).long()
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    logits, losses = model(inputs).detach().numpy(), []
    for _ in range(3):
        loss = functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return plan, weights, logits, losses


def keras_transformer():
    """Return the same of the transformer in Keras, on the backend that KERAS_BACKEND names."""
    import keras
    from keras import layers, ops

    import initlib.adapters.keras as init

    class Block(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.attention_norm = layers.RMSNormalization(epsilon=EPSILON, name="attention_norm")
            self.mlp_norm = layers.RMSNormalization(epsilon=EPSILON, name="mlp_norm")
            self.attention = layers.GroupQueryAttention(HEAD, HEADS, GROUPS, use_bias=False, name="attention")
            self.gate = layers.Dense(HIDDEN, activation="silu", use_bias=False, name="gate")
            self.up = layers.Dense(HIDDEN, use_bias=False, name="up")
            self.down = layers.Dense(WIDTH, use_bias=False, name="down")

        def call(self, x):
            normed = self.attention_norm(x)
            x = x + self.attention(normed, normed, use_causal_mask=True)
            normed = self.mlp_norm(x)
            return x + self.down(self.gate(normed) * self.up(normed))

    tokens = keras.Input((LENGTH,), dtype="int32")
    embed = layers.ReversibleEmbedding(VOCABULARY, WIDTH, name="embed")
    places = ops.cumsum(ops.ones_like(tokens), axis=1) - 1
    x = embed(tokens) + layers.Embedding(LENGTH, WIDTH, name="positions")(places)
    for i in range(LAYERS):
        x = Block(name=f"block_{i}")(x)
    logits = embed(layers.RMSNormalization(epsilon=EPSILON, name="norm")(x), reverse=True)
    model = keras.Model(tokens, logits)

    rename = {
        "block_*.attention.attention_output.kernel": "blocks.*.attention.out",
        "block_*.kernel": "blocks.*",
        "block_*.scale": "blocks.*",
        "norm.scale": "norm",
        "*.embeddings": "*",
    }
    plan = init.initialize(model, RULES, SEED, default=DEFAULT, rename=rename)
    variables = zip(plan.entries, model.weights, strict=True)
    weights = {entry.parameter.name: ops.convert_to_numpy(variable).copy() for entry, variable in variables}

    logits = model.predict(INPUTS, verbose=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(RATE), loss)
    losses = [float(model.train_on_batch(INPUTS, TARGETS)) for _ in range(3)]
    return plan, weights, logits, losses


def linen_transformer():
    """Return the same of the transformer in Flax linen, where `scan` stacks the layers."""
    import jax
    import jax.numpy as jnp
    from flax import linen as nn

    import initlib.adapters.jax as init

    class Attention(nn.Module):
        @nn.compact
        def __call__(self, x):
            q = nn.DenseGeneral((HEADS, HEAD), use_bias=False, name="query")(x)
            k = nn.DenseGeneral((GROUPS, HEAD), use_bias=False, name="key")(x)
            v = nn.DenseGeneral((GROUPS, HEAD), use_bias=False, name="value")(x)
            mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True)
            return nn.DenseGeneral(WIDTH, axis=(-2, -1), use_bias=False, name="out")(mixed)

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            x = x + Attention(name="attention")(nn.RMSNorm(EPSILON, name="attention_norm")(x))
            normed = nn.RMSNorm(EPSILON, name="mlp_norm")(x)
            gate = nn.Dense(HIDDEN, use_bias=False, name="gate")(normed)
            up = nn.Dense(HIDDEN, use_bias=False, name="up")(normed)
            return x + nn.Dense(WIDTH, use_bias=False, name="down")(nn.silu(gate) * up), None

    class Transformer(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            embed = nn.Embed(VOCABULARY, WIDTH, name="embed")
            x = embed(tokens) + nn.Embed(LENGTH, WIDTH, name="positions")(jnp.arange(LENGTH))
            stacked = nn.scan(Block, variable_axes={"params": 0}, split_rngs={"params": True}, length=LAYERS)
            x, _ = stacked(name="blocks")(x, None)
            return embed.attend(nn.RMSNorm(EPSILON, name="norm")(x))

    model = Transformer()
    shapes = jax.eval_shape(model.init, jax.random.key(0), INPUTS)["params"]
    options = {
        "default": DEFAULT,
        "rename": {"*.kernel": "*", "*.scale": "*", "*.embedding": "*"},
        "stack": {"blocks": "blocks.{i}"},
    }
    params = init.initialize(shapes, RULES, SEED, **options)
    stored = _stored(params)
    weights = {name: array for name, array in stored.items() if not name.startswith("blocks.")}
    for i in range(LAYERS):
        weights |= {name.replace("blocks.", f"blocks.{i}."): a[i] for name, a in stored.items() if name not in weights}
    return init.plan(shapes, RULES, **options), weights, *_trained(lambda p, x: model.apply({"params": p}, x), params)


def nnx_transformer():
    """Return the same of the transformer in Flax nnx."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    import initlib.adapters.jax as init

    class Attention(nnx.Module):
        def __init__(self, rngs):
            self.query = nnx.Linear(WIDTH, HEADS * HEAD, use_bias=False, rngs=rngs)
            self.key = nnx.Linear(WIDTH, GROUPS * HEAD, use_bias=False, rngs=rngs)
            self.value = nnx.Linear(WIDTH, GROUPS * HEAD, use_bias=False, rngs=rngs)
            self.out = nnx.Linear(HEADS * HEAD, WIDTH, use_bias=False, rngs=rngs)

        def __call__(self, x):
            q, k, v = (layer(x).reshape(*x.shape[:2], -1, HEAD) for layer in (self.query, self.key, self.value))
            mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True)
            return self.out(mixed.reshape(*x.shape[:2], -1))

    class Block(nnx.Module):
        def __init__(self, rngs):
            self.attention_norm = nnx.RMSNorm(WIDTH, epsilon=EPSILON, rngs=rngs)
            self.mlp_norm = nnx.RMSNorm(WIDTH, epsilon=EPSILON, rngs=rngs)
            self.attention = Attention(rngs)
            self.gate = nnx.Linear(WIDTH, HIDDEN, use_bias=False, rngs=rngs)
            self.up = nnx.Linear(WIDTH, HIDDEN, use_bias=False, rngs=rngs)
            self.down = nnx.Linear(HIDDEN, WIDTH, use_bias=False, rngs=rngs)

        def __call__(self, x):
            x = x + self.attention(self.attention_norm(x))
            normed = self.mlp_norm(x)
            return x + self.down(nnx.silu(self.gate(normed)) * self.up(normed))

    class Transformer(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Embed(VOCABULARY, WIDTH, rngs=rngs)
            self.positions = nnx.Embed(LENGTH, WIDTH, rngs=rngs)
            self.blocks = nnx.List([Block(rngs) for _ in range(LAYERS)])
            self.norm = nnx.RMSNorm(WIDTH, epsilon=EPSILON, rngs=rngs)

        def __call__(self, tokens):
            x = self.embed(tokens) + self.positions(jnp.arange(LENGTH))
            for block in self.blocks:
                x = block(x)
            return self.embed.attend(self.norm(x))

    shapes = nnx.eval_shape(lambda: Transformer(nnx.Rngs(0)))
    options = {"default": DEFAULT, "rename": {"*.kernel": "*", "*.scale": "*", "*.embedding": "*"}}
    model = init.initialize(shapes, RULES, SEED, **options)
    graph, params = nnx.split(model)
    weights = _stored(nnx.to_pure_dict(params))
    return init.plan(shapes, RULES, **options), weights, *_trained(lambda p, x: nnx.merge(graph, p)(x), params)


def _stored(tree, before=""):
    """Return the arrays of nested dictionaries, by names with dots."""
    weights = {}
    for name, value in tree.items():
        weights |= (
            _stored(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": np.asarray(value)}
        )
    return weights


def _trained(apply, params):
    """Return the logits of a model of JAX, and the losses of its first steps."""
    import jax
    import jax.numpy as jnp

    def loss(params):
        chosen = jnp.take_along_axis(jax.nn.log_softmax(apply(params, INPUTS)), TARGETS[..., None], axis=-1)
        return -chosen.mean()

    logits, losses, step = np.asarray(apply(params, INPUTS)), [], jax.jit(jax.value_and_grad(loss))
    for _ in range(3):
        value, gradients = step(params)
        losses.append(float(value))
        params = jax.tree.map(lambda weight, gradient: weight - RATE * gradient, params, gradients)
    return logits, losses


TRANSFORMERS = {
    "torch": torch_transformer,
    "keras": keras_transformer,
    "linen": linen_transformer,
    "nnx": nnx_transformer,
}
RUNS = {
    "PyTorch": ("torch", ("torch",), ""),
    "Flax linen": ("linen", ("flax",), ""),
    "Flax nnx": ("nnx", ("flax",), ""),
    "Keras on TensorFlow": ("keras", ("keras", "tensorflow"), "tensorflow"),
    "Keras on JAX": ("keras", ("keras", "jax"), "jax"),
    "Keras on PyTorch": ("keras", ("keras", "torch"), "torch"),
}


def streams(plan, weights):
    """Return the weights in canonical order, by the names of their streams."""
    by_stream = {}
    for entry in plan.entries:
        for piece in entry.pieces:
            alone = np.empty(piece.shape, np.float32)
            for outer, inner in piece.boxes:
                alone[inner] = weights[entry.parameter.name][outer]
            by_stream[piece.stream] = canonical(piece.shape, piece.axes).arrange(alone).ravel()
    return by_stream


def run(framework, backend):
    """Return the weights by their streams, the logits and the losses of a transformer in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "transformer.npz"
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3"} | os.environ | ({"KERAS_BACKEND": backend} if backend else {})
        subprocess.run([sys.executable, __file__, framework, path], env=environment, check=True)
        with np.load(path) as saved:
            arrays = dict(saved)
    return arrays, arrays.pop(":logits"), arrays.pop(":losses")


def compare(model, first):
    """Return the number of weights with the bits of the first model, and the differences of logits and losses."""
    equal = sum(model[0][name].tobytes() == weight.tobytes() for name, weight in first[0].items() if name in model[0])
    return equal, abs(model[1] - first[1]).max(), abs(model[2] - first[2]).max()


def main():
    """Run the transformer in every installed framework, and print the comparison. Return False if any differ."""
    first, same = None, True
    for title, (framework, needed, backend) in RUNS.items():
        if any(find_spec(package) is None for package in needed):
            print(f"{title:20} is not installed")
            continue
        model = run(framework, backend)
        first = first or model
        equal, logits, losses = compare(model, first)
        same = same and equal == len(first[0]) == len(model[0]) and logits < 1e-4 and losses < 1e-4
        print(
            f"{title:20} {equal} of {len(first[0])} weights have equal bits; logits differ by {logits:.0e}; "
            f"losses {', '.join(f'{loss:.5f}' for loss in model[2])}"
        )
    return same


if __name__ == "__main__":
    if len(sys.argv) == 3:
        plan, weights, logits, losses = TRANSFORMERS[sys.argv[1]]()
        np.savez(sys.argv[2], **{":logits": logits, ":losses": losses}, **streams(plan, weights))
    else:
        sys.exit(not main())

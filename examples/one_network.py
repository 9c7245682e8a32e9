"""One network in four frameworks, from one seed and the same names: the same weights, and so the same outputs.

    python examples/one_network.py

A convolution, a depthwise and a transposed one, packed attention projections and a dense layer, each written as its
framework's users write it, with its own storage: PyTorch, Flax, and Keras on TensorFlow, JAX and PyTorch. Each runs in
a process of its own, and every weight is compared by bits.
"""

import math
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from initlib.axes import canonical

SEED = 0
HEADS, WIDTH = 2, 4
IMAGES = np.random.default_rng(1).standard_normal((4, 8, 8, 3)).astype(np.float32)

# How each framework stores each weight; PyTorch's channels come first, Keras's and Flax's last.
AXES = {
    "torch": {"conv": "OIHW", "depthwise": "(8 O)IHW", "transposed": "IOHW", "qkv": "(3 O)I", "dense": "OI"},
    "keras": {"conv": "HWIO", "depthwise": "HWBO", "transposed": "HWOI", "qkv": "BIOO", "dense": "IO"},
    "flax": {"conv": "HWIO", "depthwise": "HWI(8 O)", "transposed": "HWOI", "qkv": "BIOO", "dense": "IO"},
}


def torch_network():
    """Return the weights of the network in PyTorch, and its outputs for the images."""
    import torch
    from torch import nn
    from torch.nn.functional import relu

    import initlib.adapters.torch as init

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
            self.depthwise = nn.Conv2d(8, 16, 3, padding=1, groups=8, bias=False)
            self.transposed = nn.ConvTranspose2d(16, 8, 2, stride=2, bias=False)
            self.qkv = nn.Linear(8, 3 * HEADS * WIDTH, bias=False)
            self.dense = nn.Linear(8, 10, bias=False)
            axes = AXES["torch"]
            init.he_normal_(self.conv.weight, axes=axes["conv"], seed=SEED, name="conv")
            init.he_uniform_(self.depthwise.weight, axes=axes["depthwise"], seed=SEED, name="depthwise")
            init.lecun_normal_(self.transposed.weight, axes=axes["transposed"], seed=SEED, name="transposed")
            init.glorot_uniform_(self.qkv.weight, axes=axes["qkv"], seed=SEED, name="qkv")
            init.glorot_normal_(self.dense.weight, axes=axes["dense"], seed=SEED, name="dense")

        def forward(self, x):
            x = relu(self.transposed(relu(self.depthwise(relu(self.conv(x))))))
            tokens = x.mean(3).transpose(1, 2)
            q, k, v = self.qkv(tokens).reshape(len(x), 16, 3, HEADS, WIDTH).permute(2, 0, 3, 1, 4)
            mixed = (q @ k.transpose(2, 3) / math.sqrt(WIDTH)).softmax(3) @ v
            return self.dense(mixed.transpose(1, 2).reshape(len(x), 16, 8).mean(1))

    network = Network()
    with torch.no_grad():
        outputs = network(torch.from_numpy(IMAGES).permute(0, 3, 1, 2)).numpy()
    return {name: getattr(network, name).weight.detach().numpy() for name in AXES["torch"]}, outputs


def keras_network():
    """Return the same of the network in Keras, on the backend that KERAS_BACKEND names."""
    import keras
    from keras import layers, ops

    import initlib.adapters.keras as init

    def start(scheme, name):
        return scheme(seed=SEED, name=name, axes=AXES["keras"][name])

    weighted = {
        "conv": layers.Conv2D(
            8, 3, padding="same", use_bias=False, activation="relu", kernel_initializer=start(init.HeNormal, "conv")
        ),
        "depthwise": layers.DepthwiseConv2D(
            3,
            depth_multiplier=2,
            padding="same",
            use_bias=False,
            activation="relu",
            depthwise_initializer=start(init.HeUniform, "depthwise"),
        ),
        "transposed": layers.Conv2DTranspose(
            8, 2, strides=2, use_bias=False, activation="relu", kernel_initializer=start(init.LecunNormal, "transposed")
        ),
        "qkv": layers.EinsumDense(
            "bte,nehd->bnthd", (3, 16, HEADS, WIDTH), kernel_initializer=start(init.GlorotUniform, "qkv")
        ),
        "dense": layers.Dense(10, use_bias=False, kernel_initializer=start(init.GlorotNormal, "dense")),
    }
    x = images = keras.Input(IMAGES.shape[1:])
    for name in ("conv", "depthwise", "transposed"):
        x = weighted[name](x)
    qkv = weighted["qkv"](ops.mean(x, axis=2))
    scores = ops.einsum("bqhd,bkhd->bhqk", qkv[:, 0], qkv[:, 1]) / math.sqrt(WIDTH)
    mixed = ops.einsum("bhqk,bkhd->bqhd", ops.softmax(scores, axis=3), qkv[:, 2])
    outputs = weighted["dense"](ops.mean(ops.reshape(mixed, (-1, 16, 8)), axis=1))
    network = keras.Model(images, outputs)
    weights = {name: ops.convert_to_numpy(layer.weights[0]) for name, layer in weighted.items()}
    return weights, network.predict(IMAGES, verbose=0)


def flax_network():
    """Return the same of the network in Flax."""
    import jax
    import jax.numpy as jnp
    from flax import linen as nn

    import initlib.adapters.jax as init

    def start(scheme, name):
        return {"kernel_init": scheme(seed=SEED, name=name, axes=AXES["flax"][name]), "name": name}

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Conv(8, (3, 3), use_bias=False, **start(init.he_normal, "conv"))(x))
            depthwise = start(init.he_uniform, "depthwise")
            x = nn.relu(nn.Conv(16, (3, 3), feature_group_count=8, use_bias=False, **depthwise)(x))
            transposed = start(init.lecun_normal, "transposed")
            strides = {"strides": (2, 2), "padding": "VALID", "transpose_kernel": True}
            x = nn.relu(nn.ConvTranspose(8, (2, 2), **strides, use_bias=False, **transposed)(x))
            qkv = nn.Einsum(
                (3, 8, HEADS, WIDTH), "bte,nehd->nbthd", use_bias=False, **start(init.glorot_uniform, "qkv")
            )
            q, k, v = qkv(x.mean(2))
            scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(WIDTH)
            mixed = jnp.einsum("bhqk,bkhd->bqhd", nn.softmax(scores), v)
            return nn.Dense(10, use_bias=False, **start(init.glorot_normal, "dense"))(mixed.reshape(-1, 16, 8).mean(1))

    network = Network()
    variables = network.init(jax.random.key(0), IMAGES)
    weights = {name: np.asarray(layer["kernel"]) for name, layer in variables["params"].items()}
    return weights, np.asarray(network.apply(variables, IMAGES))


NETWORKS = {"torch": torch_network, "keras": keras_network, "flax": flax_network}
RUNS = {
    "PyTorch": ("torch", "torch", ""),
    "Flax": ("flax", "flax", ""),
    "Keras on TensorFlow": ("keras", "tensorflow", "tensorflow"),
    "Keras on JAX": ("keras", "jax", "jax"),
    "Keras on PyTorch": ("keras", "torch", "torch"),
}


def run(framework, backend):
    """Return the weights in canonical order, and the outputs, of a network in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.npz"
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3"} | os.environ | ({"KERAS_BACKEND": backend} if backend else {})
        subprocess.run([sys.executable, __file__, framework, path], env=environment, check=True)
        with np.load(path) as saved:
            arrays = dict(saved)
    outputs = arrays.pop("outputs")
    weights = {name: canonical(w.shape, AXES[framework][name]).arrange(w).ravel() for name, w in arrays.items()}
    return weights, outputs


def compare(network, first):
    """Return the number of weights with the bits of the first network, and the greatest difference of outputs."""
    equal = [name for name, weight in first[0].items() if network[0][name].tobytes() == weight.tobytes()]
    return equal, abs(network[1] - first[1]).max()


def main():
    """Run the network in every installed framework, and print the comparison. Return False if any differ."""
    first = None
    same = True
    for title, (framework, needed, backend) in RUNS.items():
        if find_spec(framework) is None or find_spec(needed) is None:
            print(f"{title:20} is not installed")
            continue
        network = run(framework, backend)
        first = first or network
        equal, apart = compare(network, first)
        same = same and len(equal) == len(first[0]) and apart < 1e-5
        print(f"{title:20} equal bits: {', '.join(equal)}; outputs differ by {apart:.1e}")
    return same


if __name__ == "__main__":
    if len(sys.argv) == 3:
        weights, outputs = NETWORKS[sys.argv[1]]()
        np.savez(sys.argv[2], outputs=outputs, **weights)
    else:
        sys.exit(not main())

"""A low-rank adapter whose frozen random matrices are kept as a seed and a name instead of tensors.

VeRA (Kopiczko, Blankevoort, Asano 2023, arXiv 2310.11454) adapts every linear layer of a model by
`b * (B @ (d * (A @ x)))`: A and B are random, frozen and shared by all layers; only the vectors d and b are trained.
A and B are most of the adapter's bytes. They need not be stored where a seed gives them back, but a framework's own
generator does that on the same device and version only. Here a seed and a name do, anywhere.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

import initlib
import initlib.adapters.torch as init

SEED, RANK, WIDTH, LAYERS = 7, 256, 512, 8


class Adapted(nn.Module):
    """A linear layer and its adapter."""

    def __init__(self, base, rank, seed):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.d = nn.Parameter(torch.full((rank,), 0.1))
        self.b = nn.Parameter(torch.zeros(base.out_features))
        # Not persistent: no checkpoint holds them. The names make them the same in every layer.
        for name, shape in (("A", (rank, base.in_features)), ("B", (base.out_features, rank))):
            matrix = init.he_uniform_(torch.empty(shape), seed=seed, name=f"vera.{name}")
            self.register_buffer(name, matrix, persistent=False)

    def forward(self, x):
        return self.base(x) + self.b * ((self.d * (x @ self.A.T)) @ self.B.T)


def model(seed=SEED):
    """Make a frozen network from a seed, with an adapter in every layer."""
    layers = []
    for k in range(LAYERS):
        layer = nn.Linear(WIDTH, WIDTH, bias=False)
        init.he_normal_(layer.weight, seed=0, name=f"base.{k}")
        layers += [Adapted(layer, RANK, seed), nn.ReLU()]
    return nn.Sequential(*layers)


def train(network, steps=5):
    """Train the vectors for a few steps, so that they differ from their initial values."""
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
    x = torch.from_numpy(initlib.normal()((64, WIDTH), seed=1, name="x"))
    for _ in range(steps):
        optimizer.zero_grad()
        (network(x) - x).square().mean().backward()
        optimizer.step()


def save(network, path):
    """Save the whole adapter: the trained vectors and the seed."""
    vectors = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    save_file(vectors, path, metadata={"seed": str(SEED), "rank": str(RANK), "initlib": initlib.__version__})


def load(path):
    """Return the adapted network, also in a process that has never held A and B."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    network = model(int(header["__metadata__"]["seed"]))
    missing, unexpected = network.load_state_dict(load_file(path), strict=False)
    assert not unexpected
    assert all(name.endswith("base.weight") for name in missing)
    return network


def matrices(network):
    """Return the bits of A and B of every layer."""
    return [buffer.numpy().tobytes() for name, buffer in network.named_buffers() if name.endswith(("A", "B"))]


def in_peft(folder):
    """Do the same with VeRA of PEFT: leave out the projections, and draw them by name after loading.

    Return whether the reloaded model gives the same bits, and the bytes of both adapters.
    """
    from peft import PeftModel, VeraConfig, get_peft_model

    def base():
        network = nn.Sequential(*[nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)])
        for k, layer in enumerate(network):
            init.he_normal_(layer.weight, seed=0, name=f"base.{k}")
            init.zeros_(layer.bias)
        return network

    def draw(adapted):
        init.he_uniform_(adapted.base_model.vera_A["default"], seed=SEED, name="vera.A")
        init.he_uniform_(adapted.base_model.vera_B["default"], seed=SEED, name="vera.B")
        return adapted

    x = torch.from_numpy(initlib.normal()((4, WIDTH), seed=1, name="x"))
    names, sizes = [str(k) for k in range(LAYERS)], {}
    for stored in (True, False):
        adapted = get_peft_model(base(), VeraConfig(r=RANK, target_modules=names, save_projection=stored))
        draw(adapted)
        for name, parameter in adapted.named_parameters():
            if "vera_lambda" in name:
                init.normal_(parameter, std=0.1, seed=2, name=name)
        adapted.save_pretrained(folder / str(stored))
        sizes[stored] = (folder / str(stored) / "adapter_model.safetensors").stat().st_size
    again = draw(PeftModel.from_pretrained(base(), folder / "False"))
    return torch.equal(again(x), adapted(x)), sizes[True], sizes[False]


def main():
    """Train and save; draw again in another process on one thread, and compare bits. Return False if any differ."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        network = model()
        train(network)
        save(network, path)
        command = [sys.executable, __file__, path, Path(folder) / "again.pt"]
        subprocess.run(command, check=True)
        again = torch.load(Path(folder) / "again.pt", weights_only=True)
        same = again["matrices"] == b"".join(matrices(network))
        shared = sum(map(len, matrices(network))) // LAYERS
        kept = path.stat().st_size
        print(f"A and B of {LAYERS} layers, drawn again elsewhere: {'equal bits' if same else 'DIFFERENT'}")
        print(f"the adapter: {kept:,} bytes; with A and B in it: {kept + shared:,}, {(kept + shared) / kept:.0f} times")
        try:
            equal, stored, seeded = in_peft(Path(folder))
        except ImportError as error:
            print(f"PEFT is not there: {error}")
        else:
            print(f"PEFT: {'equal bits' if equal else 'DIFFERENT'}; {seeded:,} bytes, {stored:,} with the projections")
            same = same and equal
    return same


if __name__ == "__main__":
    if len(sys.argv) == 3:
        initlib.set_num_threads(1)
        torch.save({"matrices": b"".join(matrices(load(Path(sys.argv[1]))))}, sys.argv[2])
    else:
        sys.exit(not main())

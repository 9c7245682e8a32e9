"""A model that no rank ever holds whole: built on meta, sharded, initialized, trained, saved, and loaded elsewhere.

    python examples/large_model.py 2

Each rank draws what it holds. The digest of the initial network is printed for one process, for fully sharded data
parallelism, for tensor parallelism and for flat shards: it is the same. Then a step of training, a checkpoint of one
layout, and its state in the others. It takes CPUs and gloo; on GPUs only the device and the backend change.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as checkpoint
import torch.multiprocessing as multiprocessing
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.functional import cross_entropy, relu

import initlib.adapters.torch as init
from initlib import normal

WIDTH, VOCABULARY, DEPTH = 32, 100, 2


class Block(nn.Module):
    """A residual branch."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the branch."""
        return x + self.down(relu(self.up(self.norm(x))))


class Model(nn.Module):
    """A stack of blocks, between a table and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of the next token."""
        x = self.table(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def fully_sharded(model: nn.Module, world: int) -> nn.Module:
    """Shard every parameter over all ranks, by FSDP2."""
    mesh = init_device_mesh("cpu", (world,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def tensor_parallel(model: nn.Module, world: int) -> nn.Module:
    """Shard the hidden units over all ranks, by tensor parallelism."""
    layers = {f"blocks.{i}.up": ColwiseParallel() for i in range(DEPTH)}
    layers |= {f"blocks.{i}.down": RowwiseParallel() for i in range(DEPTH)}
    return parallelize_module(model, init_device_mesh("cpu", (world,)), layers)


def flat_shards(model: nn.Module, world: int) -> nn.Module:
    """Cut the parameters of each block, as one vector, over all ranks, by FSDP1. Memory holds one full block."""

    def make_memory(module: nn.Module) -> None:
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(torch.empty_like(parameter, device="cpu")))

    return FullyShardedDataParallel(
        model,
        device_mesh=init_device_mesh("cpu", (world,)),
        auto_wrap_policy=ModuleWrapPolicy({Block}),
        param_init_fn=make_memory,
        device_id=torch.device("cpu"),
        use_orig_params=True,
    )


def made(lay_out=None, world: int = 1) -> nn.Module:
    """Return the model with its initial weights, sharded by a function."""
    with init.skeleton():
        model = Model()
    if lay_out is not None:
        model = lay_out(model, world)
    rules = {"*.down.weight": normal(std=0.02) * (2 * DEPTH) ** -0.5}
    init.initialize(model, rules, seed=0, default=normal(std=0.02), device="cpu")
    return model


def digest(model: nn.Module) -> str:
    """Return eight characters that depend on every bit of the full state."""
    hasher = hashlib.sha256()
    for name, tensor in sorted(get_model_state_dict(model, options=StateDictOptions(full_state_dict=True)).items()):
        hasher.update(name.encode() + tensor.numpy().tobytes())
    return hasher.hexdigest()[:8]


def main(rank: int, world: int, folder: str) -> None:
    """Initialize, train, save and load the model in one of the processes."""
    torch.set_num_threads(1)
    store = dist.FileStore(str(Path(folder) / "store"), world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    model = made(fully_sharded, world)
    lines = [f"fully sharded on {world}: {digest(model)}"]
    tokens = torch.arange(64).view(4, 16) % VOCABULARY
    cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    checkpoint.save({"model": get_model_state_dict(model)}, checkpoint_id=f"{folder}/saved")
    after = [digest(model)]
    for name, lay_out in (("tensor parallel", tensor_parallel), ("flat shards", flat_shards)):
        other = made(lay_out, world)
        lines.append(f"{name} on {world}: {digest(other)}")
        state = {"model": get_model_state_dict(other)}
        checkpoint.load(state, checkpoint_id=f"{folder}/saved")
        set_model_state_dict(other, state["model"])
        after.append(digest(other))
    lines.append(f"after a step, saved and loaded: {', '.join(after)}")
    if rank == 0:
        print("\n".join(lines))
    dist.destroy_process_group()


if __name__ == "__main__":
    print(f"one process: {digest(made())}")
    world = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.start_processes(main, (world, folder), world, start_method="fork")

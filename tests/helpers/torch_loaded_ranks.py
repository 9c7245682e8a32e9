"""A program: fills one model with old weights and noise under every layout; each rank reads the bytes of its shards."""

import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from checkpoints import save
from torch.distributed.tensor import DTensor
from torch_model_ranks import BUILT, Model, Tied, digest, gathered, layouts, wrapped

import initlib.adapters.torch as init
from initlib import loaded, normal, parts
from initlib.files import checkpoint_source


def rules(path):
    half = loaded(path, "layers.1.mix.weight", index=slice(0, 12))
    return {
        "layers.0.mix.weight": parts({"up.weight": (1, half), "gate.weight": (1, half * 0.5 + normal(std=0.1))}),
        "layers.*.out.weight": loaded(path) + normal(std=0.01),
        **BUILT,
        "*": loaded(path),
    }


def count_bytes():
    """Count the bytes that are read from now on, without gaps between short rows."""
    count = [0]
    read = checkpoint_source.read_exactly

    def counted(file, memory):
        count[0] += memory.nbytes
        read(file, memory)

    checkpoint_source.GAP, checkpoint_source.read_exactly = 0, counted
    return count


def held(model, made):
    """The bytes of the model's loaded weights on this rank."""
    drawn = {name for entry in made.entries if entry.added for name in entry.parameter.names}
    tensors = [
        tensor for name, tensor in model.named_parameters() if name.replace("_fsdp_wrapped_module.", "") in drawn
    ]
    return sum(4 * (tensor.to_local() if isinstance(tensor, DTensor) else tensor).numel() for tensor in tensors)


def main(rank, world, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", world), rank=rank, world_size=world)
    fills, count = rules(f"{folder}/old"), count_bytes()
    for name, cls, lay_out in layouts(world):
        model, expected = cls(), cls()
        lay_out(model)
        init.initialize(expected, fills, seed=5)
        count[0] = 0
        made = init.initialize(model, fills, seed=5)
        assert count[0] == held(model, made), (name, count)
        assert digest(model.state_dict()) == digest(expected.state_dict()), name
        assert not init.verify(model, made, seed=5)
    for cls in (Model, Tied):
        flat, expected = wrapped(cls, original=True), cls()
        init.initialize(expected, fills, seed=5)
        count[0] = 0
        made = init.initialize(flat, fills, seed=5)
        assert count[0] == held(flat, made)
        assert digest(gathered(flat)) == digest(expected.state_dict())
    dist.destroy_process_group()


def old_weights():
    torch.manual_seed(0)
    return {name: torch.randn_like(tensor).numpy() for name, tensor in Model().state_dict().items()}


if __name__ == "__main__":
    for world in map(int, sys.argv[1:]):
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder) / "old", old_weights())
            # Forked, so that PyTorch is imported once.
            multiprocessing.start_processes(main, (world, folder), world, start_method="fork")
        print(f"{world} ranks")

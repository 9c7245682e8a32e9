"""Written files: frameworks load the bits that they have in memory."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import LLAMA_RULES, everything, llama

from initlib import Parameter, normal, plan

pytest.importorskip("ml_dtypes")
DTYPES = ["float32", "bfloat16", "float16"]


def bits(tensor):
    """Return the bits of a PyTorch tensor or a NumPy array, as a NumPy array."""
    if isinstance(tensor, torch.Tensor):
        tensor = tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy()
    return np.ascontiguousarray(tensor).reshape(-1).view(np.uint8)


def test_the_safetensors_library_loads_written_files(tmp_path):
    loader = pytest.importorskip("safetensors.torch")
    (path,) = everything().write(tmp_path, 5)
    loaded, drawn = loader.load_file(path), everything().draw(5)
    assert loaded.keys() == drawn.keys()
    for name, tensor in loaded.items():
        assert tuple(tensor.shape) == drawn[name].shape
        assert str(tensor.dtype) == f"torch.{drawn[name].dtype}"
        assert np.array_equal(bits(tensor), bits(drawn[name]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_and_disk_have_the_same_bits(tmp_path, dtype):
    loader = pytest.importorskip("safetensors.torch")
    from initlib.adapters.torch import fill_

    made = plan([Parameter("layer.weight", (64, 96), dtype, axes="OI")], {"*": normal(std=0.02)})
    (path,) = made.write(tmp_path, 3)
    tensor = torch.empty(64, 96, dtype=getattr(torch, dtype))
    fill_(tensor, normal(std=0.02), axes="OI", seed=3, name="layer.weight")
    assert torch.equal(loader.load_file(path)["layer.weight"], tensor)


# In a separate process, because imports of transformers conflict with libraries of other tests.
FROM_PRETRAINED = """
import sys
from pathlib import Path
import torch
import torchvision_names
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig

folder, loaded = sys.argv[1:]
LlamaConfig(
    vocab_size=128,
    hidden_size=32,
    intermediate_size=80,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    tie_word_embeddings=False,
).save_pretrained(folder)
model, info = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, output_loading_info=True)
assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
save_file(model.state_dict(), loaded)
"""


def in_process(program, *arguments):
    """Run a program that imports transformers."""
    paths = {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1] / "helpers"), os.environ.get("PYTHONPATH", "")])
    }
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | paths)


@pytest.mark.parametrize(("size", "count"), [("5GB", 1), ("20KB", 4)])
def test_from_pretrained_loads_written_files(tmp_path, size, count):
    if not importlib.util.find_spec("transformers"):
        pytest.skip("transformers is not installed")
    folder, loaded = tmp_path / "model", tmp_path / "loaded.safetensors"
    made = plan(llama(layers=2, vocabulary=128, hidden=32, inner=80, keys=16), LLAMA_RULES)
    assert len(made.write(folder, 1, max_shard_size=size)) == count
    ran = in_process(FROM_PRETRAINED, folder, loaded)
    assert ran.returncode == 0, ran.stderr
    assert made.verify(loaded, 1, whole=True) == ()


RANDOM_WEIGHTS = """
import sys
import torch
import torchvision_names
import transformers
import initlib.adapters.torch as init
from initlib import normal

folder = sys.argv[1]
config = transformers.LlamaConfig(
    hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=100
)
with init.skeleton():
    model = transformers.LlamaForCausalLM(config)
plan = init.plan(model, normal(std=0.02))
plan.write(folder, seed=0)
config.save_pretrained(folder)
loaded = transformers.LlamaForCausalLM.from_pretrained(folder)
for whole in (False, True):
    assert not init.verify(loaded, plan, seed=0, whole=whole)
with torch.no_grad():
    loaded.model.layers[1].mlp.up_proj.weight[40, 5] = 0
(difference,) = init.verify(loaded, plan, seed=0, whole=True)
assert (difference.name, difference.index) == ("model.layers.1.mlp.up_proj.weight", (40, 5))
"""


def test_a_loaded_model_of_random_weights_is_verified(tmp_path):
    if not importlib.util.find_spec("transformers"):
        pytest.skip("transformers is not installed")
    ran = in_process(RANDOM_WEIGHTS, tmp_path / "model")
    assert ran.returncode == 0, ran.stderr


@pytest.mark.filterwarnings("ignore")  # of torch.distributed
def test_distributed_checkpoints_can_read_written_files(tmp_path):
    checkpoint = pytest.importorskip("torch.distributed.checkpoint")
    reader = getattr(checkpoint, "HuggingFaceStorageReader", None)
    if reader is None:
        pytest.skip("this PyTorch has no reader of safetensors for distributed checkpoints")
    made = plan([Parameter(f"w{k}", (8, 16), "bfloat16") for k in range(6)], normal())
    made.write(tmp_path, 0, max_shard_size="600")
    assert len(json.loads((tmp_path / "model.safetensors.index.json").read_text())["weight_map"]) == 6
    state = {f"w{k}": torch.zeros(8, 16, dtype=torch.bfloat16) for k in range(6)}
    checkpoint.load(state, storage_reader=reader(str(tmp_path)))
    drawn = made.draw(0)
    for name, tensor in state.items():
        assert np.array_equal(bits(tensor), bits(drawn[name]))

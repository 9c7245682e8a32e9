"""Models on several processes: under every layout, on 1, 2 and 4 ranks, the gathered state is the same."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest


def printed(program, *ranks):
    """Return the lines that a program of the helpers prints."""
    path = Path(__file__).parents[1] / "helpers" / program
    run = subprocess.run([sys.executable, str(path), *ranks], capture_output=True, text=True, timeout=400)
    assert run.returncode == 0, run.stderr[-4000:]
    return run.stdout.splitlines()


def test_every_layout_gives_the_same_state():
    digests = dict(line.split(" ranks: ") for line in printed("torch_model_ranks.py", "1", "2", "4"))
    assert list(digests) == ["1", "2", "4"]
    assert len(set(digests.values())) == 1


def test_real_models_have_the_weights_of_one_process():
    if not all(map(importlib.util.find_spec, ("transformers", "timm"))):
        pytest.skip("transformers or timm is not installed")
    assert printed("torch_real_model_ranks.py", "2")[-1].endswith("models on 2 ranks")


def test_each_rank_verifies_its_own_memory():
    assert printed("torch_verify_ranks.py", "1", "2", "4") == ["1 ranks", "2 ranks", "4 ranks"]


def test_each_rank_reads_the_old_weights_of_its_shards():
    assert printed("torch_loaded_ranks.py", "1", "4") == ["1 ranks", "4 ranks"]

"""Examples of large models: one digest in one process and under every layout."""

import subprocess
import sys
from pathlib import Path

import pytest


def printed(program, ranks):
    """Return the printed values of an example on so many ranks, by their labels."""
    path = Path(__file__).parents[2] / "examples" / program
    run = subprocess.run([sys.executable, str(path), str(ranks)], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-4000:]
    return dict(line.split(": ") for line in run.stdout.splitlines())


def test_one_network_has_the_same_weights_under_every_layout():
    lines = printed("large_model.py", 2)
    after = lines.pop("after a step, saved and loaded").split(", ")
    assert list(lines) == ["one process", "fully sharded on 2", "tensor parallel on 2", "flat shards on 2"]
    assert len(set(lines.values())) == 1
    assert after[0] == after[1] == after[2] != lines["one process"]


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_plain_tensors_of_a_rank_have_the_bits_of_the_full_weight(ranks):
    lines = printed("plain_parts.py", ranks)
    assert list(lines) == ["one process", f"Megatron's parts on {ranks}", f"ZeRO's partitions on {ranks}"]
    assert len(set(lines.values())) == 1

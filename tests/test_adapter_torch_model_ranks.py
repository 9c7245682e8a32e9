"""A whole model on real processes: under every layout, on 1, 2 and 4 ranks, the gathered state is the same."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")


def test_one_state_under_every_layout():
    program = Path(__file__).with_name("torch_model_ranks.py")
    run = subprocess.run([sys.executable, str(program), "1", "2", "4"], capture_output=True, text=True, timeout=400)
    assert run.returncode == 0, run.stderr[-4000:]
    digests = dict(line.split(" ranks: ") for line in run.stdout.splitlines())
    assert list(digests) == ["1", "2", "4"]
    assert len(set(digests.values())) == 1

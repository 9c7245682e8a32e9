"""DTensors: every rank's shard has the bits of the whole weight, on real processes."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")


def test_every_shard_on_two_and_four_ranks():
    program = Path(__file__).with_name("torch_ranks.py")
    run = subprocess.run([sys.executable, str(program), "2", "4"], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-4000:]
    assert run.stdout.splitlines() == ["2 ranks agree", "4 ranks agree"]

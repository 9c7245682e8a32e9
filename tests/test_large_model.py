"""The example of a large model: one digest in one process, fully sharded and tensor parallel."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")


def test_one_network_under_every_layout():
    program = Path(__file__).parent.parent / "examples" / "large_model.py"
    run = subprocess.run([sys.executable, str(program), "2"], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stderr[-4000:]
    lines = dict(line.split(": ") for line in run.stdout.splitlines())
    assert lines["one process"] == lines["fully sharded on 2"] == lines["tensor parallel on 2"]
    after = lines["after a step, saved and loaded"].split(", ")
    assert after[0] == after[1] != lines["one process"]

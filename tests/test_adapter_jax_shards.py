import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jax")

CHECKS = Path(__file__).with_name("adapter_jax_checks.py")


def run(check):
    return subprocess.run([sys.executable, CHECKS, check], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("check", ["matrix", "kernel", "explicit", "calls", "shard_map", "large"])
def test_on_eight_devices(check):
    done = run(check)
    assert done.returncode == 0, done.stderr


def test_a_check_can_fail():
    assert "KeyError" in run("nothing").stderr

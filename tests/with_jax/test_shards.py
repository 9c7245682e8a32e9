import os
import subprocess
import sys
from pathlib import Path

import pytest

WEIGHTS, MODELS = (Path(__file__).with_name(f"{name}_checks.py") for name in ("shard", "model"))
HELPERS = Path(__file__).parents[1] / "helpers"


def run(checks, check):
    environment = {**os.environ, "PYTHONPATH": str(HELPERS)}
    return subprocess.run([sys.executable, checks, check], env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("check", ["matrix", "kernel", "explicit", "calls", "shard_map", "large"])
def test_draws_on_eight_devices_have_the_bits_of_one(check):
    done = run(WEIGHTS, check)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "check",
    ["shards", "jitted", "explicit", "memory", "peak", "placement", "composed", "verification", "flax", "old_weights"],
)
def test_models_on_eight_devices_have_the_bits_of_one(check):
    pytest.importorskip("flax")
    done = run(MODELS, check)
    assert done.returncode == 0, done.stderr


def test_the_checks_can_fail():
    assert "KeyError" in run(WEIGHTS, "nothing").stderr

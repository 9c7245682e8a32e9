import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import initlib

for package in ("torch", "safetensors"):
    pytest.importorskip(package)
PATH = Path(__file__).parents[2] / "examples" / "seeded_adapters.py"
SPEC = importlib.util.spec_from_file_location("seeded_adapters", PATH)
seeded_adapters = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(seeded_adapters)


def test_the_program_draws_equal_matrices_again():
    run = subprocess.run([sys.executable, PATH], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "drawn again elsewhere: equal bits" in run.stdout
    kept, whole = (int(count.replace(",", "")) for count in re.findall(r"([\d,]+)(?: bytes;|, \d+ times)", run.stdout))
    matrices = 2 * seeded_adapters.RANK * seeded_adapters.WIDTH * 4
    assert whole - kept == matrices
    assert whole > 40 * kept


@pytest.mark.filterwarnings("ignore:Specified to not (save|load) vera_A and vera_B:UserWarning")  # by its own generator
def test_vera_of_peft_keeps_its_projections_as_a_seed(tmp_path):
    pytest.importorskip("peft", exc_type=ImportError)
    equal, stored, seeded = seeded_adapters.in_peft(tmp_path)
    assert equal
    assert stored - seeded >= 2 * seeded_adapters.RANK * seeded_adapters.WIDTH * 4


def test_the_matrices_are_those_of_the_core():
    layer = seeded_adapters.model()[0]
    shape = (seeded_adapters.RANK, seeded_adapters.WIDTH)
    drawn = initlib.he_uniform(shape, seed=seeded_adapters.SEED, name="vera.A", axes="OI")
    assert np.array_equal(layer.A.numpy(), drawn)


def test_another_seed_is_another_adapter():
    first, second = (seeded_adapters.matrices(seeded_adapters.model(seed)) for seed in (7, 8))
    assert len(first) == 2 * seeded_adapters.LAYERS
    assert first[0] == first[2] != second[0]


@pytest.mark.filterwarnings("ignore:Specified to not")
def test_the_adapter_works_in_peft(tmp_path):
    pytest.importorskip("peft", exc_type=ImportError)
    equal, stored, seeded = seeded_adapters.in_peft(tmp_path)
    assert equal
    assert stored > 40 * seeded

"""Write and sync of a 2 GB checkpoint, against a write of zeros.

Alone: `python -m benchmarks --only disk`, in a folder of the disk to measure.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from initlib import Parameter, Plan, normal, plan

from .measure import interleaved
from .peers import OURS

DD = "dd, as many zeros"
CASE = "2 GB of bfloat16"
PEAK = "peak of memory, in MB"
BLOCK = 2**22

# Weights like those of a network of 4096 channels, stored as PyTorch stores them.
SHAPES = [(128256, 4096), *[(4096, 4096), (1024, 4096), (14336, 4096), (4096, 14336)] * 3, (28672, 4096)]

MEMORY = """
import resource, sys
from benchmarks.disk import checkpoint
checkpoint().write(sys.argv[1], seed=0)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
"""


def checkpoint() -> Plan:
    """Return the plan of the checkpoint."""
    parameters = [Parameter(f"layers.{k}.weight", shape, "bfloat16", axes="OI") for k, shape in enumerate(SHAPES)]
    return plan(parameters, {"*": normal(std=0.02)})


def disk(full: bool) -> dict[str, dict[str, float]]:
    """Return the seconds of each write, to new files each time, and the peak memory of the process."""
    made = checkpoint()
    count = sum(entry.parameter.bytes for entry in made.entries) // BLOCK
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        path = Path(folder) / "written"

        def write() -> None:
            shutil.rmtree(path, ignore_errors=True)
            made.write(path, seed=0)

        def zeros() -> None:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
            command = ["dd", "if=/dev/zero", f"of={path / 'zeros'}", f"bs={BLOCK}", f"count={count}", "conv=fsync"]
            subprocess.run(command, check=True, capture_output=True)

        seconds = interleaved({OURS: write, DD: zeros}, rounds=9, budget=90)
        shutil.rmtree(path)
        ran = subprocess.run([sys.executable, "-c", MEMORY, str(path)], check=True, capture_output=True, text=True)
    return {CASE: seconds, PEAK: {OURS: float(ran.stdout)}}

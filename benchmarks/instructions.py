"""Instruction counts of a fixed set of draws, by Valgrind: equal on a busy and on an idle machine."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PATHS = ("avx2", "baseline")  # Valgrind knows no AVX-512
WEIGHTS = 2**16

# Every draw is one call of the kernel, and Valgrind dumps the counts after every call.
PROGRAM = f"""
from initlib import glorot_uniform, he_normal, variance_scaling
shape = ({WEIGHTS // 256}, 256)
normal = variance_scaling(2.0, "fan_in", "normal")
for draw in (he_normal, normal, glorot_uniform):
    draw(shape, seed=0)
he_normal(shape, "float64", seed=0)
he_normal(shape, "float16", seed=0)
he_normal(shape, axes="OI", seed=0)
he_normal(shape, seed=0, index=(slice(None), slice(0, 256, 2)))
"""
DRAWS = {
    "he_normal float32": WEIGHTS,
    "kaiming_normal float32": WEIGHTS,
    "glorot_uniform float32": WEIGHTS,
    "he_normal float64": WEIGHTS,
    "he_normal float16": WEIGHTS,
    "he_normal float32, axes OI": WEIGHTS,
    "he_normal float32, every other column": WEIGHTS // 2,
}


def instructions(full: bool) -> dict[str, dict[str, float]]:
    """Return the instructions per weight, for each path of the compiled kernel."""
    if not shutil.which("valgrind"):
        return {}
    counts = {path: _counts(path) for path in PATHS}
    return {
        draw: {path: counts[path][k] / weights for path in PATHS} for k, (draw, weights) in enumerate(DRAWS.items())
    }


def _counts(path: str) -> list[int]:
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", "--toggle-collect=py_fill", "--dump-after=py_fill"]
        environ = {"INITLIB_KERNEL": path, "PYTHONMALLOC": "malloc", "OPENBLAS_NUM_THREADS": "1"}
        subprocess.run(
            [*command, f"--callgrind-out-file={folder}/out", sys.executable, "-c", PROGRAM],
            env=environ,
            check=True,
            capture_output=True,
        )
        dumps = sorted(Path(folder).glob("out.*"), key=lambda dump: int(dump.suffix[1:]))
        totals = [re.search(r"^(?:totals|summary): (\d+)", dump.read_text(), re.MULTILINE) for dump in dumps]
        return [int(total[1]) for total in totals if total is not None and int(total[1])]

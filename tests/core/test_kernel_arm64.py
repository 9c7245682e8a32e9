"""Kernel compiled for arm64, with NEON: it gives the bits of the reference, in an emulator if installed."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from initlib import he_normal, normal, uniform
from initlib.stream import config, kernel

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"

pytestmark = pytest.mark.skipif(
    not (shutil.which(COMPILER) and shutil.which(EMULATOR)), reason=f"needs {COMPILER} and {EMULATOR}"
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """Return the kernel without the library of Python, whose functions are never called."""
    folder = tmp_path_factory.mktemp("arm64")
    kernel._TABLE.tofile(folder / "table")
    flags = ["-std=c99", "-O3", "-ffp-contract=off", "-static", "-Wl,--unresolved-symbols=ignore-all"]
    include = "-I" + sysconfig.get_paths()["include"]
    source = Path(__file__).parents[1] / "helpers" / "kernel_driver.c"
    subprocess.run(
        [COMPILER, *flags, "-DPy_LIMITED_API=0x030B0000", include, source, "-o", folder / "driver"], check=True
    )
    return folder


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("initializer", [he_normal, normal(0.5, 2.0), uniform(-1.0, 1.0)], ids=repr)
def test_the_kernel_for_arm64_gives_the_bits_of_the_reference(driver, initializer, dtype, stride, monkeypatch):
    count, seed = 20011, 5
    shape = (count * stride,)
    law = initializer.law(shape, None, dtype)
    lo, width = law.window or (0, 0)
    numbers = (seed, int(law.window is not None), lo, width, law.low, law.high, law.scale.hex(), law.mean.hex())
    arguments = [*numbers, kernel.CODES[dtype], count, stride]
    command = [EMULATOR, driver / "driver", driver / "table", *map(str, arguments)]
    drawn = subprocess.run(command, check=True, capture_output=True).stdout
    monkeypatch.setattr(config, "kernel", None)
    assert drawn == np.ascontiguousarray(initializer(shape, dtype, seed=seed)[::stride]).tobytes()

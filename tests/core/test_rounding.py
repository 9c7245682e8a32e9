"""Floating-point environments: another rounding mode is an error, and numbers flushed to zero change no bit."""

import ctypes
import platform
import shutil
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from initlib import constant, dirac, glorot_uniform, he_normal, normal, orthogonal, truncated_normal, uniform
from initlib.schemes import kinds
from initlib.stream import config

X86_LINUX = sys.platform == "linux" and platform.machine() == "x86_64"
NEAREST, MODES = 0, {"down": 0x400, "up": 0x800, "to zero": 0xC00}  # from <fenv.h> on x86
FLUSH_TO_ZERO = 0x8040  # two bits of the register MXCSR: of results, and of operands
SOURCE = Path(__file__).parents[2] / "initlib" / "stream" / "_kernel.c"  # not installed

in_environments = pytest.mark.skipif(not X86_LINUX, reason="sets the registers of x86 by Linux's libm")


@pytest.fixture(params=["kernel", "reference"])
def engine(request, monkeypatch):
    if request.param == "reference":
        monkeypatch.setattr(config, "kernel", None)
    elif config.kernel is None:
        pytest.skip("the kernel was not compiled")


@pytest.fixture
def libm():
    """Return the C library, and restore the environment afterwards."""
    library = ctypes.CDLL("libm.so.6")
    before = ctypes.create_string_buffer(32)
    library.fegetenv(before)
    yield library
    library.fesetenv(before)


def drawn_there(initializer, dtype, cold):
    """Draw in the environment of this thread, with a law made there (cold) or before (warm)."""
    if cold:
        kinds._law.cache_clear()
    return initializer((7, 9), dtype, seed=3)


@in_environments
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("cold", [True, False], ids=["cold", "warm"])
@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("initializer", [he_normal, uniform(-0.1, 0.3), constant(0.1), orthogonal(), dirac()], ids=repr)
def test_no_weights_are_drawn_under_another_rounding_mode(initializer, mode, cold, libm):
    usual = drawn_there(initializer, "float32", cold=True)
    out = np.full((7, 9), 7, np.float32)
    libm.fesetround(mode)
    try:
        if cold:
            kinds._law.cache_clear()
        with pytest.raises(FloatingPointError, match="got another mode"):
            initializer((7, 9), out=out, seed=3)
    finally:
        libm.fesetround(NEAREST)
    assert (out == 7).all()
    assert (
        drawn_there(initializer, "float32", cold=False) == usual
    ).all()  # no law of that environment stays in a cache


@in_environments
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
@pytest.mark.parametrize(
    "initializer",
    [he_normal, glorot_uniform, normal(1e-36, 1e-36), truncated_normal(low=6.0, high=7.0), normal(std=2.0**-1001)],
    ids=repr,
)
def test_flushing_small_numbers_to_zero_changes_no_weight(initializer, dtype, libm):
    def draw():
        try:
            return drawn_there(initializer, dtype, cold=True).tobytes()
        except ValueError as error:
            return str(error)

    usual = draw()
    environment = ctypes.create_string_buffer(32)
    libm.fegetenv(environment)
    (mxcsr,) = struct.unpack_from("<I", environment, 28)
    struct.pack_into("<I", environment, 28, mxcsr | FLUSH_TO_ZERO)
    libm.fesetenv(environment)
    assert 2.0**-1022 * float(np.float64(0.5)) == 0  # the mode is set
    flushed = draw()
    assert flushed == usual


@pytest.mark.skipif(not (X86_LINUX and shutil.which("gcc")), reason="needs gcc on x86")
@pytest.mark.parametrize(
    ("flags", "message"),
    [(["-mfpmath=387"], "must round to float, and only once"), (["-ffast-math"], "must be IEEE 754's"), ([], None)],
    ids=["x87", "fast-math", "usual"],
)
def test_a_kernel_does_not_compile_with_flags_that_change_rounding(flags, message):
    include = "-I" + sysconfig.get_paths()["include"]
    command = ["gcc", "-std=c99", "-fsyntax-only", "-DPy_LIMITED_API=0x030B0000", *flags, include, SOURCE]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode == 0) == (message is None)
    assert (message or "") in run.stderr

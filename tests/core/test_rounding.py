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
NEAREST, MODES = 0, {"down": 0x400, "up": 0x800, "to zero": 0xC00}  # of <fenv.h>, on x86
FLUSH_TO_ZERO = 0x8040  # the two bits of the register MXCSR: results, and what is read
SOURCE = Path(__file__).parents[2] / "initlib" / "stream" / "_kernel.c"  # no install has it

in_environments = pytest.mark.skipif(not X86_LINUX, reason="sets the registers of x86 by Linux's libm")


@pytest.fixture(params=["kernel", "reference"])
def engine(request, monkeypatch):
    if request.param == "reference":
        monkeypatch.setattr(config, "kernel", None)
    elif config.kernel is None:
        pytest.skip("the kernel was not compiled")


@pytest.fixture
def libm():
    """The C library's, and the environment set back after."""
    library = ctypes.CDLL("libm.so.6")
    before = ctypes.create_string_buffer(32)
    library.fegetenv(before)
    yield library
    library.fesetenv(before)


def drawn_there(initializer, dtype, cold):
    """Draw, in whatever environment this thread has; with a law that is made there, or before."""
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
        with pytest.raises(FloatingPointError, match="rounding mode of this thread"):
            initializer((7, 9), out=out, seed=3)
    finally:
        libm.fesetround(NEAREST)
    assert (out == 7).all()
    assert (drawn_there(initializer, "float32", cold=False) == usual).all()  # nothing of it stays in a cache


@in_environments
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "complex64"])
@pytest.mark.parametrize(
    "initializer",
    [he_normal, glorot_uniform, normal(1e-36, 1e-36), truncated_normal(low=6.0, high=7.0), normal(std=2.0**-1001)],
    ids=repr,
)
def test_numbers_flushed_to_zero_change_nothing(initializer, dtype, libm):
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
    assert 2.0**-1022 * float(np.float64(0.5)) == 0  # it is set
    flushed = draw()
    assert flushed == usual


@pytest.mark.skipif(not (X86_LINUX and shutil.which("gcc")), reason="needs gcc on x86")
@pytest.mark.parametrize(
    ("flags", "message"),
    [(["-mfpmath=387"], "must round to float, and only once"), (["-ffast-math"], "must be IEEE 754's"), ([], None)],
    ids=["x87", "fast-math", "usual"],
)
def test_a_kernel_that_would_round_otherwise_is_not_compiled(flags, message):
    include = "-I" + sysconfig.get_paths()["include"]
    command = ["gcc", "-std=c99", "-fsyntax-only", "-DPy_LIMITED_API=0x030B0000", *flags, include, SOURCE]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode == 0) == (message is None)
    assert (message or "") in run.stderr

"""Settings of all tests: hypothesis without chance or deadlines, and the frameworks that must be installed."""

import importlib.util
import os
from contextlib import suppress

with suppress(ImportError):
    import triton  # noqa: F401 - aborts the process if TensorFlow, with another LLVM, was loaded before

import numpy as np
import pytest
from hypothesis import settings

from initlib.__main__ import main
from initlib.stream import config

settings.register_profile("initlib", derandomize=True, deadline=None, max_examples=60, print_blob=False)
settings.load_profile("initlib")


def pytest_configure():
    """End the run if a framework in INITLIB_REQUIRE is missing; tests of other missing frameworks are skipped."""
    wanted = [name for name in os.environ.get("INITLIB_REQUIRE", "").split(",") if name]
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise pytest.UsageError(f"INITLIB_REQUIRE names {', '.join(missing)}, which cannot be imported")


@pytest.fixture
def rng():
    """Return a new generator of random numbers, so that no test depends on the draws of another test."""
    return np.random.default_rng(0)


@pytest.fixture
def reference(monkeypatch):
    """Draw by the reference, also with a compiled kernel."""
    monkeypatch.setattr(config, "kernel", None)


@pytest.fixture
def command(capsys):
    """Return a function that runs the command line: exit code, lines of stdout, lines of stderr."""

    def run(*arguments):
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run

"""What all tests share: hypothesis without chance or deadlines, and the frameworks that must be there."""

import importlib.util
import os
from contextlib import suppress

with suppress(ImportError):
    import triton  # noqa: F401 - it aborts the process where TensorFlow, whose LLVM is another, was loaded before it

import pytest
from hypothesis import settings

from initlib.__main__ import main
from initlib.stream import config

settings.register_profile("initlib", derandomize=True, deadline=None, max_examples=60, print_blob=False)
settings.load_profile("initlib")


def pytest_configure():
    """A framework that is missing skips its tests; one that INITLIB_REQUIRE names and is missing ends the run."""
    wanted = [name for name in os.environ.get("INITLIB_REQUIRE", "").split(",") if name]
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise pytest.UsageError(f"INITLIB_REQUIRE names {', '.join(missing)}, which cannot be imported")


@pytest.fixture
def reference(monkeypatch):
    """Draw by the reference, whatever was compiled."""
    monkeypatch.setattr(config, "kernel", None)


@pytest.fixture
def command(capsys):
    """Run the command line: the exit code, and the lines of stdout and of stderr."""

    def run(*arguments):
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run

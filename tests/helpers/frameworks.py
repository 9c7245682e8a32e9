"""The tests of a framework: ignored where the framework is missing, an error where INITLIB_REQUIRE names it."""

import importlib.util
import os

import pytest


def ignored_without(framework: str) -> list[str]:
    """Return the test files to ignore: all of the folder where the framework is not installed."""
    if importlib.util.find_spec(framework) is not None:
        return []
    if framework in os.environ.get("INITLIB_REQUIRE", "").split(","):
        raise pytest.UsageError(f"INITLIB_REQUIRE names {framework}, which is not installed")
    return ["test_*.py"]

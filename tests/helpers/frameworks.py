"""Tests of a missing framework: ignored, or an error if INITLIB_REQUIRE names the framework."""

import importlib.util
import os

import pytest


def ignored_without(framework: str) -> list[str]:
    """Return the test files to ignore: all of the folder if the framework is not installed."""
    if importlib.util.find_spec(framework) is not None:
        return []
    if framework in os.environ.get("INITLIB_REQUIRE", "").split(","):
        raise pytest.UsageError(f"INITLIB_REQUIRE names {framework}, which is not installed")
    return ["test_*.py"]

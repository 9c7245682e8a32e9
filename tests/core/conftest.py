"""Fixtures of several files of tests."""

import pytest
from checkpoints import save
from old_weights import OLD


@pytest.fixture
def old(tmp_path):
    """Write a checkpoint of the old weights, and return its path."""
    return save(tmp_path / "old.safetensors", OLD)

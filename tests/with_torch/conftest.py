"""Tests of the PyTorch adapter, which need PyTorch."""

import pytest
from frameworks import ignored_without

collect_ignore_glob = ignored_without("torch")


@pytest.fixture(autouse=True)
def seeded():
    """Seed PyTorch's generator, so that no test depends on the draws of another test."""
    import torch

    torch.manual_seed(0)

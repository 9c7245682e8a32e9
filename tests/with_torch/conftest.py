"""Tests of the PyTorch adapter, which need PyTorch."""

import pytest
from frameworks import ignored_without

collect_ignore_glob = ignored_without("torch")


@pytest.fixture(autouse=True)
def independent():
    """Seed PyTorch's generator, and forget earlier parameters, so that no test depends on the draws of another test."""
    import torch

    from initlib.adapters.torch.drawing import dispatch

    torch.manual_seed(0)
    dispatch._unnamed.clear()  # a parameter of an earlier test, not collected yet, could cause a warning


@pytest.fixture(scope="module")
def one_thread():
    """Run PyTorch on one thread, because small networks are slower with more threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

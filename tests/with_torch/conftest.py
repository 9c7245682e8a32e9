"""Tests of the PyTorch adapter, which need PyTorch."""

from frameworks import ignored_without

collect_ignore_glob = ignored_without("torch")

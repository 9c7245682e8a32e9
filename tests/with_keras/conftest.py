"""Tests of the Keras adapter, which need Keras."""

from frameworks import ignored_without

collect_ignore_glob = ignored_without("keras")

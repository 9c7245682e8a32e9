"""Tests of the JAX adapter, which need JAX."""

from frameworks import ignored_without

collect_ignore_glob = ignored_without("jax")

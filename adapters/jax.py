"""The core's initializers for JAX."""

from ._jax import draw

__all__ = ["draw"]

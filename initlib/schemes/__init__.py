"""Schemes: initializers, their kinds, and one file for each family."""

from .frozen import FACTORIES

__all__ = ["FACTORIES"]

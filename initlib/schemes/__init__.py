"""Schemes: initializers, their kinds, and one file for each family."""

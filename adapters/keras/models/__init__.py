"""Initialization of a model."""

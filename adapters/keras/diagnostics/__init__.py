"""Measurements of a model: signals and an audit."""

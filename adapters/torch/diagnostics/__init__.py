"""Measurements of a model: signals, coordinates, an audit, and a scaling by data."""

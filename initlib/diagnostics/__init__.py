"""Measurements of a model or a file, as tables, verdicts and pictures."""

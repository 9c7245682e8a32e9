"""Audit of a file or a model: the statistics of each tensor, its scheme, and its faults."""

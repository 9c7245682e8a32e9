"""Benchmarks of draws against every installed peer: `python -m benchmarks`."""

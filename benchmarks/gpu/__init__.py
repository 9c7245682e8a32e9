"""Benchmarks of draws on a GPU: counted in the machine code, and measured where a GPU exists."""

"""Readers of the tensors in files that other people wrote, piece by piece; no code in a file runs."""

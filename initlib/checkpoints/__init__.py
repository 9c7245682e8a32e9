"""Checkpoints: the initial state of a model as files, written, read and verified."""

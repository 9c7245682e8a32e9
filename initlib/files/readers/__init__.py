"""Readers: the tensors of files of any origin, piece by piece; nothing in a file is executed."""

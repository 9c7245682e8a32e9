"""The audit of a file or a model: the figures of each tensor, its scheme, and its faults."""

"""The initialization of a whole model."""

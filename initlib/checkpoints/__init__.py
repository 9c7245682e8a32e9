"""Initial state of a model as safetensors files: written, read and verified."""

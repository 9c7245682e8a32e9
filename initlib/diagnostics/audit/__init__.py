"""The audit: which initialization the tensors of a model or file match."""

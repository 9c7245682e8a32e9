"""Plans: the fills of all tensors of a model."""

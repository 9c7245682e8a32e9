"""Plans: what fills every tensor of a model."""

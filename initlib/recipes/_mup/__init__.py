"""Maximal update parametrization: its recipes, its learning rates, and the roles of weights that both read."""

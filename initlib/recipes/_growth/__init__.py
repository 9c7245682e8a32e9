"""Recipes that start a larger model from the weights of a smaller one."""

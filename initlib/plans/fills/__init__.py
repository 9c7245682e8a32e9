"""Fills: the values that a rule can give a parameter, besides initializers."""

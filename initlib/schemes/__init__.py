"""The schemes: what an initializer is, the kinds there are, and one file for each family."""

"""Adapters: one package for each framework. The core imports none of them."""

"""Version of the library, stated in this file alone."""

__version__ = "0.1.0"

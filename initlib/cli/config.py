"""Print the versions, the code that draws (compiled kernel or reference) and the number of threads."""

import argparse

import initlib


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments."""


def run(options: argparse.Namespace) -> None:
    """Print the configuration."""
    initlib.show_config()

"""Print the versions, what draws (the kernel or the reference) and the number of threads."""

import argparse

import initlib


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(options: argparse.Namespace) -> None:
    """Print them."""
    initlib.show_config()

"""Public names about named draws, loaded when one of them is first used."""

from .naming.mode import named as named

"""Result of matching a tensor with the schemes."""

from typing import NamedTuple


class Match(NamedTuple):
    """Scheme or None, the indistinguishable other schemes, the axes of the fans of the scheme, and the tests."""

    scheme: str | None
    also: tuple[str, ...] = ()
    axes: str | None = None
    test: str = ""

"""The result of matching a tensor with the schemes."""

from typing import NamedTuple


class Match(NamedTuple):
    """The scheme or None, the indistinguishable others, the axes that give the scheme its fans, and the tests."""

    scheme: str | None
    also: tuple[str, ...] = ()
    axes: str | None = None
    test: str = ""

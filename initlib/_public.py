"""Public names: reports and pickles show a function or class under the name that users import."""

from collections.abc import Callable
from typing import TypeVar

Member = TypeVar("Member", bound=Callable[..., object])  # a function or a class


def public(package: str, name: str | None = None) -> Callable[[Member], Member]:
    """Return a decorator that names the package of a function or class, and the name there (None: its own).

    Pickles then hold a name that stays when a file moves.
    """

    def decorate(member: Member) -> Member:
        member.__module__, member.__qualname__ = package, name or member.__qualname__
        return member

    return decorate

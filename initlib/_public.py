"""Public places: functions and classes show, and are pickled by, where users find them, not the file they are in."""

from types import FunctionType
from typing import Any


def publish(module: str, members: dict[str, Any]) -> None:
    """Give a module's functions and classes from files below it that module, and the name they have there."""
    for name in members["__all__"]:
        member = members.get(name)  # one that is not loaded yet is published later
        if isinstance(member, (FunctionType, type)) and member.__module__.startswith(f"{module}."):
            member.__module__, member.__qualname__ = module, name

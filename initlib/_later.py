"""Public names of a package that are loaded when one of them is first used."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from ._collector import collector_paused


def later(
    package: dict[str, Any], modules: Sequence[str], advice: Callable[[str], str] = lambda name: ""
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions `__getattr__` and `__dir__` of a package, which load the modules in their order.

    The first module that has a name of `__all__` provides the value. Type checkers read the same modules instead.

    Args:
        package: the globals of the package.
        modules: the modules of the package that hold the names.
        advice: completes the error about a name that the package does not have.
    """
    path = package["__name__"]

    def load(name: str) -> Any:
        for module in modules if name in package["__all__"] else ():
            with collector_paused():  # modules stay alive: a collection would visit every object for nothing
                loaded = import_module(f"{path}.{module}")
            if hasattr(loaded, name):
                package[name] = getattr(loaded, name)
                return package[name]
        raise AttributeError(f"module {path!r} has no attribute {name!r}{advice(name)}")

    def names() -> list[str]:
        return sorted({*package, *package["__all__"]})

    return load, names

"""Public names of a package that are loaded at their first use."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from ._collector import collector_paused


def later(
    package: dict[str, Any], modules: Sequence[str], advice: Callable[[str], str] = lambda name: ""
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions `__getattr__` and `__dir__` of a package whose names are loaded at their first use.

    `__getattr__` imports the modules in the given order until a module has the name. Type checkers do not run this
    function, so the package also imports the names of these modules under `TYPE_CHECKING`.

    Args:
        package: the globals of the package, which contain `__all__`.
        modules: the modules that hold the names, as paths below the package.
        advice: returns the end of the error about an unknown name.
    """
    path = package["__name__"]

    def load(name: str) -> Any:
        for module in modules if name in package["__all__"] else ():
            with collector_paused():  # modules stay alive, so a collection frees nothing
                loaded = import_module(f"{path}.{module}")
            if hasattr(loaded, name):
                package[name] = getattr(loaded, name)
                return package[name]
        raise AttributeError(f"module {path!r} has no attribute {name!r}{advice(name)}")

    def names() -> list[str]:
        return sorted({*package, *package["__all__"]})

    return load, names

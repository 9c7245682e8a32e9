"""What draws here: the compiled kernel and its instruction set, or the reference; and on how many threads."""

import os
import platform
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import SupportsIndex

import numpy as np

from .._arguments import integer
from .._public import public
from .._version import __version__

added: list[Callable[[], Iterable[str]]] = []  # what an adapter that has devices adds to `show_config`, when imported

_compiled: ModuleType | None
try:
    from . import _kernel as _compiled
except ImportError:  # no compiler where it was installed
    _compiled = None


def _choose_path() -> tuple[ModuleType | None, int]:
    """The kernel and the number of its path that INITLIB_KERNEL asks for; None for the reference."""
    wish = os.environ.get("INITLIB_KERNEL", "")
    if wish == "0" or (_compiled is None and not wish):
        return None, 0
    paths = _compiled.paths() if _compiled is not None else ()
    if not wish:
        return _compiled, 0
    if wish not in paths:
        allowed = ", ".join(["0", *paths])
        raise ValueError(f"INITLIB_KERNEL={wish!r} is not available here; allowed are {allowed}")
    return _compiled, paths.index(wish)


def _default_threads() -> int:
    wish = os.environ.get("INITLIB_NUM_THREADS", "")
    if wish:
        if not (wish.isascii() and wish.isdecimal() and int(wish)):
            raise ValueError(f"INITLIB_NUM_THREADS must be an int of at least 1, got {wish!r}")
        return int(wish)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


kernel, path = _choose_path()
_threads = _default_threads()


@public("initlib")
def get_num_threads() -> int:
    """How many threads draw a large weight.

    >>> get_num_threads() >= 1
    True
    """
    return _threads


@public("initlib")
def set_num_threads(threads: SupportsIndex) -> None:
    """Set how many threads draw a large weight; the weights do not depend on it.

    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> set_num_threads(before)

    The default is INITLIB_NUM_THREADS, else the CPUs that this process may use. Raises TypeError or ValueError
    unless it is an int of at least 1.
    """
    global _threads
    _threads = integer(threads, "threads", least=1)


@public("initlib")
def show_config() -> None:
    """Print the versions, what draws (kernel and instruction set, or reference) and the number of threads.

    >>> show_config()  # doctest: +ELLIPSIS
    initlib ...

    Where `initlib.adapters.torch` was imported and there is a GPU, it says what draws on the current one.
    """
    if kernel is not None:
        drawn_by = f"kernel, {kernel.paths()[path]}"
    elif _compiled is None:
        drawn_by = "reference in NumPy (the kernel was not compiled)"
    else:
        drawn_by = "reference in NumPy (INITLIB_KERNEL=0)"
    print(f"initlib {__version__}, NumPy {np.__version__}, Python {platform.python_version()}, {platform.machine()}")
    print(f"draws: {drawn_by}")
    print(f"threads: {_threads}")
    for lines in added:
        for line in lines():
            print(line)

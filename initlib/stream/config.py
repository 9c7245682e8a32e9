"""Settings: the compiled kernel with its instruction set, or the reference; and the number of threads."""

import os
import platform
import warnings
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import SupportsIndex

import numpy as np

from .._arguments import integer
from .._public import public
from .._version import __version__

added: list[Callable[[], Iterable[str]]] = []  # lines that an imported adapter with devices adds to `show_config`

INTERFACE = 1  # equal to the number in `_kernel.c`, except for a kernel that was compiled from another version
NOT_COMPILED = "the kernel was not compiled"
STALE = "the compiled kernel is of another version of initlib"


def _import_kernel() -> tuple[ModuleType | None, str]:
    """Return the compiled kernel, or None and the reason. Warn of a kernel of another version."""
    try:
        from . import _kernel
    except ImportError:  # installed without a compiler
        return None, NOT_COMPILED
    if getattr(_kernel, "INTERFACE", None) == INTERFACE:
        return _kernel, ""
    if os.environ.get("INITLIB_KERNEL") != "0":
        warnings.warn(
            f"slower reference code draws weights, because {STALE}. Compile the kernel again: pip install -e . in the "
            "folder of the repository, or reinstall initlib. INITLIB_KERNEL=0 silences this warning",
            RuntimeWarning,
            stacklevel=2,
        )
    return None, STALE


_compiled, _obstacle = _import_kernel()


def _choose_path() -> tuple[ModuleType | None, int]:
    """Return the kernel and the number of its path that INITLIB_KERNEL selects; None for the reference."""
    wish = os.environ.get("INITLIB_KERNEL", "")
    if wish == "0" or (_compiled is None and not wish):
        return None, 0
    paths = _compiled.paths() if _compiled is not None else ()
    if not wish:
        return _compiled, 0
    if wish not in paths:
        allowed = ", ".join(["0", *paths])
        raise ValueError(f"INITLIB_KERNEL must be one of {allowed} on this machine, got {wish!r}")
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
    """Return the number of threads that draw a large weight.

    Returns:
        The number that `set_num_threads` set. The default is the environment variable INITLIB_NUM_THREADS, or else the
        number of CPUs that this process may use.

    Example:
        >>> get_num_threads() >= 1
        True
    """
    return _threads


@public("initlib")
def set_num_threads(threads: SupportsIndex) -> None:
    """Set the number of threads that draw a large weight. The weights do not depend on the number.

    Args:
        threads: an int of at least 1.

    Raises:
        TypeError: threads is not an int.
        ValueError: threads is below 1.

    Example:
        >>> before = get_num_threads()
        >>> set_num_threads(1)
        >>> set_num_threads(before)
    """
    global _threads
    _threads = integer(threads, "threads", least=1)


@public("initlib")
def show_config() -> None:
    """Print the versions, the code that draws (compiled kernel or NumPy) and the number of threads.

    After `import initlib.adapters.torch` on a machine with a GPU, one more line names the code that draws on the GPU.

    Example:
        >>> show_config()  # doctest: +ELLIPSIS
        initlib ...
    """
    drawn_by = f"reference in NumPy ({_obstacle or 'INITLIB_KERNEL=0'})"
    if kernel is not None:
        drawn_by = f"kernel, {kernel.paths()[path]}"
    print(f"initlib {__version__}, NumPy {np.__version__}, Python {platform.python_version()}, {platform.machine()}")
    print(f"draws: {drawn_by}")
    print(f"threads: {_threads}")
    for lines in added:
        for line in lines():
            print(line)

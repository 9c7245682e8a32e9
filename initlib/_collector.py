"""Pauses of Python's garbage collector while many objects are made."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the collector: the objects of a plan have no cycles, and each collection would visit all objects.

    The first plan of a PyTorch model of 10,000 parameters then takes half the time. If two threads pause the collector,
    one pause may end early, which costs only time.
    """
    if not gc.isenabled():
        yield
        return
    try:
        gc.disable()  # within `try`, so that an interrupt just after the pause ends the pause
        yield
    finally:
        gc.enable()


def pausing_collector(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return the function, with the collector paused during each call and until the objects of the call are freed.

    The decorator `@collector_paused()` would add a frame of `contextlib`, and warnings would point at that frame.
    """

    @wraps(function)
    def paused(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with collector_paused():
            return function(*args, **kwargs)

    return paused

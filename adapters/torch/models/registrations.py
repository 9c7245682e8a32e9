"""Registrations: the parameters and modules that the constructors of one thread register.

All threads share PyTorch's registration hooks. If a thread adds or removes a hook while another thread registers a
parameter, the other thread can raise an error. So the hooks are added once, at the first use, and never removed. They
call only the functions of the thread that registers.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)


class _Observer(NamedTuple):
    """The functions of one context."""

    parameter_added: Callable[[nn.Module, str, nn.Parameter], nn.Parameter | None]
    module_added: Callable[[nn.Module], None]


class _Thread(threading.local):
    observers: tuple[_Observer, ...] = ()


_thread = _Thread()
_lock = threading.Lock()
_has_hooks = False


@contextmanager
def observe_registrations(
    parameter_added: Callable[[nn.Module, str, nn.Parameter], nn.Parameter | None],
    module_added: Callable[[nn.Module], None],
) -> Iterator[None]:
    """Call functions for each parameter and each module that a module registers in this thread.

    If `parameter_added` returns a parameter, the module registers this parameter instead; None changes nothing.
    """
    _add_hooks()
    observer = _Observer(parameter_added, module_added)
    _thread.observers += (observer,)
    try:
        yield
    finally:
        _thread.observers = tuple(each for each in _thread.observers if each is not observer)


def are_observed() -> bool:
    """Return whether registrations of this thread are observed now."""
    return bool(_thread.observers)


def _add_hooks() -> None:
    global _has_hooks
    with _lock:
        if not _has_hooks:
            register_module_parameter_registration_hook(_parameter_added)  # type: ignore[arg-type]  # its result counts
            register_module_module_registration_hook(_module_added)
            _has_hooks = True


def _parameter_added(module: nn.Module, name: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
    if parameter is None or not _thread.observers:
        return None
    for observer in _thread.observers:
        replaced = observer.parameter_added(module, name, parameter)
        parameter = parameter if replaced is None else replaced
    return parameter


def _module_added(module: nn.Module, name: str, child: nn.Module | None) -> None:
    if child is not None:
        for observer in _thread.observers:
            observer.module_added(child)

"""Adapters of objects: the framework of a model or function is the top-level package that defines it.

No other file of the core imports an adapter.
"""

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

FRAMEWORKS = ("keras", "torch")  # a Keras model is a PyTorch module too, on that backend


def framework_of(value: Any) -> str | None:
    """Return the framework that defines the class of an object, or a function; None for all others."""
    while isinstance(value, partial):
        value = value.func
    modules = [cls.__module__ for cls in type(value).__mro__] + [getattr(value, "__module__", None) or ""]
    packages = {module.partition(".")[0] for module in modules}
    return next((framework for framework in FRAMEWORKS if framework in packages), None)


def adapter(framework: str, file: str) -> ModuleType:
    """Return a module of the adapter of a framework."""
    return import_module(f"initlib.adapters.{framework}.{file}")


def draw_in_jax(initializer: Any, *arguments: Any) -> Any:
    """Return the JAX array that an initializer draws for the arguments of JAX: a key, a shape and a dtype.

    Raises TypeError unless the first argument is an array of JAX.
    """
    if not type(arguments[0]).__module__.startswith("jax"):
        shown = ", ".join(repr(argument) for argument in arguments)
        raise TypeError(f"shape and dtype must be the only positional arguments, got {shown}. Pass the others by name")
    return adapter("jax", "init").initializer(initializer)(*arguments)


def numpy_function(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return an elementwise function of any framework as a function of NumPy arrays.

    The functions of NumPy, JAX and Keras take NumPy arrays; those of PyTorch, and functions that call them, do not.
    """
    if framework_of(function) == "torch" or ("torch" in sys.modules and not _takes_arrays(function)):
        return adapter("torch", "drawing.activations").numpy_function(function)
    return function


def _takes_arrays(function: Callable[[Any], Any]) -> bool:
    """Return whether a function takes NumPy arrays, as far as a call shows it."""
    try:
        with np.errstate(all="ignore"):
            function(np.zeros(1))
    except (TypeError, AttributeError):
        return False
    except Exception:
        return True  # the caller gets this error
    return True

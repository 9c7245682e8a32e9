"""Initializers that a layer states, as initializers of the core."""

# mypy: disable-error-code="import-untyped"
# Keras comes without types, so its classes are Any.

import inspect
from typing import Any

import keras
from keras import initializers

import initlib
from initlib import values
from initlib.plans.fills.values import Fill

from .. import init as ours
from ..drawing.draw import InitlibMixin
from .types import Layer

# Captured here, so that a program may put the adapter's classes in the place of Keras's.
CLASSES: dict[str, Any] = {name: cls for name, cls in vars(initializers).items() if inspect.isclass(cls)}


def own_initializer(layer: Layer, name: str) -> Any:
    """Return the initializer that a layer states for its variable of that name, by `kernel_initializer` and so on."""
    stems = [name, name.removesuffix("_kernel"), name.removeprefix("reverse_")]
    if name == "kernel":
        stems.append("depthwise")
    stated = (getattr(layer, f"{stem}_initializer", None) for stem in stems)
    return next((initializer for initializer in stated if initializer is not None), None)


def only_initializer(layer: Layer) -> Any:
    """Return the one initializer that a layer states, if it states one, for variables of any name."""
    stated = [value for name, value in vars(layer).items() if name.endswith("initializer") and value is not None]
    return stated[0] if len(stated) == 1 else None


def draws(fill: Fill | None) -> bool:
    """Return whether a fill is an initializer that draws, not one that sets values."""
    return isinstance(fill, initlib.Initializer) and fill.is_random


def as_core(initializer: Any, shape: tuple[int, ...]) -> Fill | None:
    """Return the core's fill for an initializer of Keras, this adapter or the core; None for any other.

    The seed and the name of the initializer do not count.

    >>> as_core(keras.initializers.HeNormal(seed=5), (3, 4)) == initlib.he_normal
    True
    """
    if isinstance(initializer, initlib.Initializer):
        return initializer
    if isinstance(initializer, InitlibMixin):
        return initializer.core
    name = type(initializer).__name__
    if CLASSES.get(name) is not type(initializer):
        return None  # a class of the user
    if name == "Constant":
        return initlib.constant(initializer.value) if isinstance(initializer.value, (int, float)) else None
    if name == "Identity":
        return initlib.identity(initializer.gain)
    if name == "STFT":
        return values(keras.ops.convert_to_numpy(initializer(shape, "float32")))
    fixed: dict[str, Fill] = {"Zeros": initlib.zeros, "Ones": initlib.ones}
    if name in fixed:
        return fixed[name]
    return getattr(ours, name).from_config({**initializer.get_config(), "seed": 0}).core

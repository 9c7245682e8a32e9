"""Starts: what a layer's own initializers are in the core."""

# mypy: disable-error-code="import-untyped"
# Keras comes without types, so its classes are Any.

from typing import Any

import keras

import initlib
from initlib import values
from initlib.plans.rules.values import Fill

from .. import init as ours
from ..drawing.draw import InitlibMixin


def own_initializer(layer: Any, name: str) -> Any:
    """The initializer that a layer keeps for its variable of that name: its `kernel_initializer` and so on, or None."""
    stems = [name, name.removesuffix("_kernel"), name.removeprefix("reverse_")]
    if name == "kernel":
        stems.append("depthwise")
    kept = (getattr(layer, f"{stem}_initializer", None) for stem in stems)
    return next((initializer for initializer in kept if initializer is not None), None)


def as_core(initializer: Any, shape: tuple[int, ...]) -> Fill | None:
    """What an initializer of Keras, of this adapter or of the core draws, in the core; None where nobody knows.

    >>> as_core(keras.initializers.HeNormal(seed=5), (3, 4)) == initlib.he_normal
    True

    Its seed and its name are not looked at.
    """
    if isinstance(initializer, initlib.Initializer):
        return initializer
    if isinstance(initializer, InitlibMixin):
        return initializer.core
    kind = type(initializer)
    if kind is not getattr(keras.initializers, kind.__name__, None):
        return None  # somebody's own
    if kind is keras.initializers.Zeros:
        return initlib.zeros
    if kind is keras.initializers.Ones:
        return initlib.ones
    if kind is keras.initializers.Constant:
        return initlib.constant(initializer.value) if isinstance(initializer.value, (int, float)) else None
    if kind is keras.initializers.Identity:
        return initlib.identity(initializer.gain)
    if kind is keras.initializers.STFT:
        return values(keras.ops.convert_to_numpy(initializer(shape, "float32")))
    drawn = getattr(ours, kind.__name__)
    core: initlib.Initializer = drawn.from_config({**initializer.get_config(), "seed": 0}).core
    return core

"""Keras backend of this process, and helpers for its checks: the values of tensors and models."""

import os

import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()
assert os.environ["KERAS_BACKEND"] == BACKEND
if BACKEND == "tensorflow":  # two devices, before any other file uses TensorFlow
    import tensorflow as tf

    cpu, *_ = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

# The marks of a check of one backend, and of files in which Keras warns.
only = {name: pytest.mark.skipif(name != BACKEND, reason=f"of {name}") for name in ("jax", "tensorflow", "torch")}
quiet = pytest.mark.filterwarnings(
    # warnings of Keras itself: conversions with NumPy 2.5, and layers of a quantized model
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
    "ignore:Layer InputLayer does not have a `quantize` method:UserWarning",
)

LINE, IMAGE, VOLUME = (8, 6), (8, 8, 6), (8, 8, 8, 6)  # shapes of inputs


def values(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor)).astype(np.float64)


def equal(tensor, array):
    return tuple(tensor.shape) == array.shape and np.array_equal(values(tensor), array.astype(np.float64))


def weights_of(model):
    """Return the values of a model's variables, in Keras's order."""
    return [values(variable) for variable in model.weights]


def by_name(model):
    """Return the variables of a model, by the names of its plan."""
    from initlib.adapters.keras.models.tensors import weights

    return {weight.names[0]: weight.variable for weight in weights(model)}


def check(model, plan, seed=0):
    """Check that every variable holds the weights that the plan draws in NumPy."""
    drawn = plan.draw(seed)
    named = by_name(model)
    assert set(named) == {entry.parameter.name for entry in plan.entries}
    for name, array in drawn.items():
        assert np.array_equal(values(named[name]), array.astype(np.float64)), name
    return drawn


def sequential(*inner, shape=(6,)):
    return keras.Sequential([keras.Input(shape), *inner])

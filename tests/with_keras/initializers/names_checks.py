"""Names, signatures and errors of the initializers, as Keras has them."""

import doctest
import inspect

import keras
import numpy as np
import pytest
from keras_backend import quiet, values

import initlib
from initlib.adapters import keras as adapter

pytestmark = quiet


def test_every_name_of_keras_exists():
    keras_names = {name: value for name, value in vars(keras.initializers).items() if not name.startswith("_")}
    keras_names = {name: value for name, value in keras_names.items() if not inspect.ismodule(value)}
    assert set(keras_names) <= set(adapter.__all__)
    for name, value in keras_names.items():
        cls = getattr(adapter, name)
        if not inspect.isclass(value):
            continue
        assert issubclass(cls, value)
        parameters = inspect.signature(cls).parameters
        for key, parameter in inspect.signature(value).parameters.items():
            assert parameters[key].default == parameter.default
            assert list(parameters)[: len(inspect.signature(value).parameters)] == list(
                inspect.signature(value).parameters
            )


def test_subclasses_show_their_own_arguments():
    class Mine(adapter.HeNormal):
        def __init__(self, width, **kwargs):
            super().__init__(**kwargs)

    class Again(Mine):
        pass

    class Plain(adapter.HeNormal, dict):
        pass

    assert str(inspect.signature(Mine)) == str(inspect.signature(Again)) == "(width, **kwargs)"
    assert inspect.signature(Plain) == inspect.signature(adapter.HeNormal)
    assert Again(3, seed=5, axes="IO").core == initlib.he_normal
    assert str(inspect.signature(adapter.RandomNormal)) == "(mean=0.0, stddev=0.05, seed=None, *, axes=None, name=None)"


NAMES = [name for name in adapter.__all__ if name[0].islower() and isinstance(getattr(adapter, name), type)]


@pytest.mark.parametrize("name", [*(name for name in NAMES if name != "constant"), "normal", "one", "uniform", "zero"])
def test_get_returns_initializers_by_name(name):  # of a constant it asks for a value
    expected = keras.initializers.get(name)
    actual = adapter.get(name)
    assert isinstance(actual, type(expected))
    assert type(actual) is getattr(adapter, type(actual).__name__)


def test_get_of_another_object_is_that_of_keras():
    assert adapter.get(None) is None
    assert isinstance(adapter.get(adapter.HeNormal), adapter.HeNormal)
    assert adapter.get(np.ones) is np.ones
    assert isinstance(keras.initializers.get("initlib>HeNormal"), adapter.HeNormal)
    assert isinstance(adapter.get("initlib>HeNormal"), adapter.HeNormal)
    assert adapter.get(initlib.dirac()).core == initlib.dirac()
    assert values(adapter.get(np.eye(3, dtype="float32"))((3, 3))).tolist() == np.eye(3).tolist()
    for wrong in ("typo", 3):
        with pytest.raises(ValueError, match="Could not interpret initializer identifier"):
            adapter.get(wrong)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: adapter.VarianceScaling(-1.0), ValueError, "Argument `scale` must be positive float."),
        (lambda: adapter.VarianceScaling(mode="fan"), ValueError, "Invalid `mode` argument:"),
        (lambda: adapter.VarianceScaling(distribution="cauchy"), ValueError, "Invalid `distribution` argument:"),
        (lambda: adapter.HeNormal(seed="0"), ValueError, "`seed` argument should be an instance of"),
        (lambda: adapter.HeNormal(seed=1.5), ValueError, "`seed` argument should be an instance of"),
        (lambda: adapter.HeNormal(seed=0, name=3), TypeError, "name must be a string, got 3"),
        (lambda: adapter.RandomNormal(np.ones(2), seed=0), TypeError, "mean must be a real number, got array"),
        (lambda: adapter.HeNormal(axes="hwio"), ValueError, "axes must consist of .*, got 'h' in 'hwio'"),
        (lambda: adapter.HeNormal(axes=3), TypeError, "axes must be a string"),
        (lambda: adapter.HeNormal(name=3), TypeError, "name must be a string, got 3"),
        (lambda: adapter.HeNormal(gain=3), TypeError, "gain"),
        (lambda: adapter.RandomNormal(stddev=-1), ValueError, "std must be at least 0, got -1.0"),
        (lambda: adapter.TruncatedNormal(stddev=-1), ValueError, "std must be at least 0, got -1.0"),
        (lambda: adapter.RandomNormal(mean="a"), TypeError, "mean must be a real number, got 'a'"),
        (lambda: adapter.RandomUniform(1, 0), ValueError, "low must not be above high"),
        (lambda: adapter.Orthogonal(gain=float("nan")), ValueError, "gain must be finite"),
        (lambda: adapter.CoreInitializer("dirac"), TypeError, "core must be an initializer of initlib"),
        (lambda: adapter.CoreInitializer(initlib.dirac), TypeError, "core must be an initializer of initlib"),
        (lambda: adapter.HeNormal(axes="OIHW")((3, 4)), ValueError, "must name 2 axes for shape \\(3, 4\\)"),
        (lambda: adapter.HeNormal()((3, -4)), ValueError, "negative size"),
        (lambda: adapter.HeNormal()((3, None)), TypeError, "shape must be an int or a sequence of ints"),
        (lambda: adapter.HeNormal()((3, 4), "int8"), TypeError, "dtype must be one of"),
        (lambda: adapter.Orthogonal()((3,)), ValueError, "2"),
        (
            lambda: adapter.HeNormal(input_axes=[2], output_axes=[0])((3, 4)),
            ValueError,
            "input_axes must name axes of a weight of 2 axes, got \\[2\\]",
        ),
    ],
)
def test_wrong_arguments_are_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_get_can_replace_the_function_of_keras(monkeypatch):
    monkeypatch.setattr(keras.initializers, "get", adapter.get)
    assert type(keras.initializers.get("he_normal")) is adapter.HeNormal
    assert keras.initializers.get(None) is None
    with pytest.raises(ValueError, match="Could not interpret initializer identifier: 3"):
        keras.initializers.get(3)


def test_the_documentation_runs():
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert all(hasattr(adapter, name) for name in adapter.__all__)  # doctest finds only loaded names
    done = doctest.testmod(adapter, optionflags=flags, extraglobs={"keras": keras, "initlib": initlib})
    assert done.failed == 0
    assert done.attempted > 40


@pytest.mark.parametrize("name", ["gelu", "silu", "relu", "tanh", "selu"])
def test_the_gain_of_an_activation_of_keras(name):
    activation = getattr(keras.activations, name)
    assert initlib.gain(activation) == pytest.approx(initlib.gain(name), rel=1e-6)
    assert initlib.gain(keras.layers.Activation(activation)) == pytest.approx(initlib.gain(name), rel=1e-6)

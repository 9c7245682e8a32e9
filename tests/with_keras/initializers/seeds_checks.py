"""Seeds and names of the initializers: ints, generators and None."""

import random

import keras
import numpy as np
import pytest
from keras_backend import BACKEND, equal, quiet, values

import initlib
from initlib import Key
from initlib.adapters import keras as adapter

pytestmark = quiet


def test_a_name_selects_a_stream():
    weight = adapter.HeNormal(seed=3, name="conv1")((4, 5))
    assert equal(weight, initlib.he_normal((4, 5), seed=3, name="conv1"))
    assert not equal(weight, initlib.he_normal((4, 5), seed=3))


def test_an_int_seed_repeats_and_a_generator_advances():
    initializer = adapter.HeNormal(seed=5)
    assert np.array_equal(values(initializer((4, 5))), values(initializer((4, 5))))
    generator = keras.random.SeedGenerator(5)
    first, second = adapter.HeNormal(seed=generator), adapter.HeUniform(seed=generator, name="head")
    for call in range(4):
        assert equal(first((4, 5)), initlib.he_normal((4, 5), seed=Key(5).fold_in(2 * call)))
        assert equal(second((4, 5)), initlib.he_uniform((4, 5), seed=Key(5).fold_in(2 * call + 1), name="head"))


def test_a_refused_draw_does_not_advance_a_generator():
    generator = keras.random.SeedGenerator(5)
    with pytest.raises(TypeError, match="dtype must be one of"):
        adapter.HeNormal(seed=generator)((4, 5), "int8")
    with pytest.raises(ValueError, match=r"axes must name . axes for shape .*, got 'OIHW'"):
        adapter.HeNormal(seed=generator, axes="OIHW")((4, 5))
    assert values(generator.state).tolist() == [5, 0]


def test_none_takes_a_seed_from_python_once():
    set_seed = keras.utils.set_random_seed if BACKEND == "tensorflow" else random.seed  # Keras's imports TensorFlow
    set_seed(7)
    first, second = adapter.HeNormal(), adapter.HeNormal()
    assert first.seed != second.seed
    assert equal(first((4, 5)), initlib.he_normal((4, 5), seed=first.seed))
    assert equal(first((4, 5)), initlib.he_normal((4, 5), seed=first.seed))
    set_seed(7)
    assert adapter.HeNormal().seed == first.seed
    assert first.clone().seed != first.seed
    assert first.get_config()["seed"] is None

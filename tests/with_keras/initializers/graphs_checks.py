"""Draws in graphs of TensorFlow, traces of JAX, and compiled functions of PyTorch."""

import warnings

import keras
import numpy as np
import pytest
from keras_backend import equal, only, quiet, values
from keras_initializers import ELEMENTWISE, RANDOM, jitted

import initlib
from initlib import Key
from initlib.adapters import keras as adapter

pytestmark = quiet


@only["tensorflow"]
@pytest.mark.parametrize("xla", [False, True])
def test_in_a_graph_an_int_is_a_constant(xla):
    import tensorflow as tf

    function = tf.function(lambda: adapter.HeNormal(seed=5)((4, 5), "bfloat16"), jit_compile=xla)
    assert equal(function(), initlib.he_normal((4, 5), "bfloat16", seed=5))


@only["tensorflow"]
def test_in_a_graph_a_generator_advances_at_every_run():
    import tensorflow as tf

    initializer = adapter.HeNormal(seed=keras.random.SeedGenerator(5), name="a")
    function = tf.function(lambda: initializer((4, 5)))
    for call in range(3):
        assert equal(function(), initlib.he_normal((4, 5), seed=Key(5).fold_in(call), name="a"))
    assert function.get_concrete_function().outputs[0].shape == (4, 5)


@only["tensorflow"]
def test_a_layer_can_be_built_in_a_graph():
    import tensorflow as tf

    for seed, key in ((5, 5), (keras.random.SeedGenerator(5), Key(5).fold_in(0))):
        layer = keras.layers.Dense(5, kernel_initializer=adapter.HeNormal(seed=seed))
        tf.function(lambda x, layer=layer: layer(x))(tf.ones((2, 4)))
        assert equal(layer.kernel.value, initlib.he_normal((4, 5), seed=key))


@only["jax"]
@pytest.mark.parametrize("case", RANDOM)
def test_jit_draws_the_same_weights(case):
    make, core = RANDOM[case]
    weight = jitted(make(seed=5, name="a", axes="...OI"), (3, 3, 16, 8))()
    expected = core((3, 3, 16, 8), seed=5, name="a", axes="...OI")
    if case in ELEMENTWISE and not getattr(core, "mean", 0) and case != "RandomUniform":
        assert equal(weight, expected)
    else:  # a mean is added in a second rounding, and a QR is of another library
        np.testing.assert_allclose(values(weight), expected, rtol=1e-6, atol=2e-6)


@only["jax"]
def test_a_generator_may_have_a_traced_state():
    import jax

    generator = keras.random.SeedGenerator(5)
    initializer = adapter.HeNormal(seed=generator, name="a")

    @jax.jit
    def draw_two(state):
        with keras.StatelessScope(state_mapping=[(generator.state, state)]) as scope:
            first, second = initializer((4, 5)), initializer((4, 5))
        return first, second, scope.get_current_value(generator.state)

    first, second, state = draw_two(generator.state.value)
    assert equal(first, initlib.he_normal((4, 5), seed=Key(5).fold_in(0), name="a"))
    assert equal(second, initlib.he_normal((4, 5), seed=Key(5).fold_in(1), name="a"))
    assert state.tolist() == [5, 2]
    assert generator.state.value.tolist() == [5, 0]


@only["jax"]
def test_a_generator_in_a_closure_stays_concrete():
    generator = keras.random.SeedGenerator(5)
    weight = jitted(adapter.HeNormal(seed=generator), (4, 5))()
    assert equal(weight, initlib.he_normal((4, 5), seed=Key(5).fold_in(0)))
    assert generator.state.value.tolist() == [5, 1]


@only["jax"]
def test_variables_can_be_made_in_a_stateless_scope():
    with keras.StatelessScope():
        variable = keras.Variable(adapter.HeNormal(seed=5), shape=(4, 5))
        assert equal(variable.value, initlib.he_normal((4, 5), seed=5))
        assert equal(variable.value, initlib.he_normal((4, 5), seed=5))


@only["torch"]
def test_compiled_functions_draw_outside_of_the_graph():
    import torch

    for seed, key in ((5, Key(5)), (keras.random.SeedGenerator(5), Key(5).fold_in(0))):
        torch._dynamo.reset()
        initializer = adapter.HeNormal(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            drawn = torch.compile(lambda: initializer((4, 5)) + 0, backend="eager")()  # noqa: B023
        assert equal(drawn, initlib.he_normal((4, 5), seed=key))

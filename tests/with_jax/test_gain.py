"""`gain` takes activations of JAX, in the precision of JAX's arrays."""

import jax
import jax.numpy as jnp
import pytest

from initlib import gain


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (jax.nn.silu, "silu"),
        (jax.nn.relu, "relu"),
        (jnp.tanh, "tanh"),
        (jax.nn.selu, "selu"),
        (jax.jit(jnp.sin), "sin"),
    ],
    ids=["silu", "relu", "tanh", "selu", "sin"],
)
def test_the_gain_of_a_function_of_jax_is_that_of_its_name(activation, name):
    expected = gain(jnp.sin) if name == "sin" else gain(name)
    assert gain(activation) == pytest.approx(expected, rel=1e-6)
    assert gain(lambda z: activation(z) * 2) == pytest.approx(expected / 2, rel=1e-6)


def test_the_backward_gain_of_a_function_of_jax():
    assert gain(jax.nn.silu, backward=True) == pytest.approx(gain("silu", backward=True), rel=1e-4)

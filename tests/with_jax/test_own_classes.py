"""Classes of the user and of other libraries: declared axes, pytrees, Equinox and Haiku."""

import dataclasses

import jax
import numpy as np
import pytest

from initlib import PlanError, he_normal, zeros

pytest.importorskip("flax")
import jax.numpy as jnp
from flax import nnx
from flax_models import same, shape

import initlib.adapters.jax as init


def test_declared_classes_have_axes():
    class Experts(nnx.Module):
        def __init__(self, rngs):
            self.up = nnx.Param(rngs.params.normal((4, 8, 16)))

    made = nnx.eval_shape(lambda: Experts(nnx.Rngs(0)))
    with pytest.raises(PlanError, match=r"needs to know which of the 3 axes in Experts are inputs"):
        init.plan(made, he_normal)
    assert init.declare(Experts, up="BIO") is Experts
    model = init.initialize(made, he_normal, 0)
    assert np.array_equal(model.up[...], he_normal((4, 8, 16), axes="BIO", seed=0, name="up"))
    init.declare(Experts, down="BOI")
    with pytest.raises(PlanError, match=r"for parameters of Experts \(up\), got 'down'. Correct the call declare"):
        init.plan(made, he_normal)
    with pytest.raises(TypeError, match="cls must be a class, got 3"):
        init.declare(3)
    with pytest.raises(ValueError, match=r"Experts\.up: axes must consist of .*, got '\?' in 'B\?'"):
        init.declare(Experts, up="B?")


def test_a_pytree_may_hold_modules():
    @jax.tree_util.register_dataclass
    @dataclasses.dataclass
    class Layer:
        weight: object
        bias: object
        width: int = dataclasses.field(metadata={"static": True}, default=3)

    init.declare(Layer, weight="OI")
    made = init.initialize([Layer(shape(4, 3), shape(4)), {"a": 1.5, "b": None, "c": jnp.tanh}], he_normal, 0)
    assert np.array_equal(made[0].weight, he_normal((4, 3), axes="OI", seed=0, name="0.weight"))
    assert made[0].width == 3
    assert made[1] == {"a": 1.5, "b": None, "c": jnp.tanh}


def test_equinox_modules_are_filled():
    equinox = pytest.importorskip("equinox")
    init.declare(equinox.nn.Linear, weight="OI")
    key = jax.random.key(1)
    shapes = equinox.filter_eval_shape(equinox.nn.MLP, 4, 2, 8, 2, key=key)
    made = init.initialize(shapes, he_normal, 0)
    assert np.array_equal(made.layers[1].weight, he_normal((8, 8), axes="OI", seed=0, name="layers.1.weight"))
    assert not made.layers[2].bias.any()
    assert made(jnp.ones(4)).shape == (2,)
    arrays = init.initialize(equinox.nn.MLP(4, 2, 8, 2, key=key), {"*.bias": zeros}, 0, default=he_normal)
    assert same(*(equinox.filter(model, equinox.is_array) for model in (made, arrays)))
    conv = equinox.filter_eval_shape(equinox.nn.Conv2d, 3, 8, 3, key=key)
    with pytest.raises(PlanError, match=r"weight: he_normal needs to know which of the 4 axes in Conv2d"):
        init.plan(conv, he_normal)
    stacked = equinox.filter_vmap(lambda key: equinox.nn.Linear(4, 4, key=key))(jax.random.split(key, 3))
    layers = init.initialize({"layers": stacked}, he_normal, 0, axes={"*.weight": "OI"}, stack={"layers": "h.{i}"})
    assert np.array_equal(layers["layers"].weight[1], he_normal((4, 4), axes="OI", seed=0, name="h.1.weight"))


def test_haiku_parameters_are_filled():
    haiku = pytest.importorskip("haiku")
    model = haiku.transform(lambda x: haiku.nets.MLP([8, 3], name="mlp")(x))
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((2, 4)))
    with pytest.raises(PlanError, match=r"mlp/~/linear_0\.w: he_normal needs to know which"):
        init.plan(shapes, {"*.b": zeros}, default=he_normal)
    made = init.initialize(shapes, {"*.b": zeros}, 0, default=he_normal, axes={"*.w": "IO"}, rename={"mlp/~/*": "*"})
    assert np.array_equal(made["mlp/~/linear_1"]["w"], he_normal((8, 3), seed=0, name="linear_1.w"))
    assert model.apply(made, None, jnp.ones((2, 4))).shape == (2, 3)

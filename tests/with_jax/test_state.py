"""Arrays that are no parameters: statistics, buffers, integers, random keys, and states of optimizers."""

import jax
import numpy as np
import pytest

import initlib
from initlib import PlanError, he_normal, normal, zeros

pytest.importorskip("flax")
import jax.numpy as jnp
from flax import nnx
from flax_models import IMAGE, MODULES, Image, same, shape

import initlib.adapters.jax as init


def test_statistics_are_never_drawn():
    shapes = jax.eval_shape(Image().init, jax.random.key(0), IMAGE)
    model = nnx.Sequential(nnx.BatchNorm(4, rngs=nnx.Rngs(0)), MODULES["SpectralNorm"](nnx.Rngs(0)))
    for tree, names in (
        (shapes, ["batch_stats.BatchNorm_0.mean", "batch_stats.BatchNorm_0.var"]),
        (model, ["layers.0.mean", "layers.0.var", "layers.1.batch_stats.('kernel', 'sigma')"]),
        (nnx.state(model), ["layers.0.mean", "layers.0.var", "layers.1.batch_stats.('kernel', 'sigma')"]),
        ({"opt_state": {"mu": {"kernel": shape(3, 4)}}}, ["opt_state.mu.kernel"]),
    ):
        with pytest.raises(PlanError, match="running statistics and states of optimizers cannot be drawn") as error:
            init.plan(tree, {"*": normal()})
        assert [problem.split(": running")[0] for problem in error.value.problems] == names
    made = init.initialize(shapes, {"*.var": initlib.constant(2), "*:buffer": zeros, "*": normal()}, 0)
    assert set(made["batch_stats"]["BatchNorm_0"]["var"].tolist()) == {2}


def test_buffers_are_set_by_functions_of_the_index():
    class Rotary(nnx.Module):
        def __init__(self):
            self.inv_freq = nnx.Variable(jnp.zeros(8))
            self.table = nnx.Param(jnp.zeros((6, 4)))

    model = Rotary()
    rules = {"inv_freq:buffer": initlib.rotary_frequencies(), "table": initlib.sinusoidal()}
    init.initialize(model, rules, 0)
    assert np.array_equal(model.inv_freq[...], initlib.rotary_frequencies()(8))
    assert np.array_equal(model.table[...], initlib.sinusoidal()((6, 4)))


def test_integers_are_kept():
    count = jnp.arange(3)
    tree = {"count": count, "mask": np.ones((2, 2), bool), "kernel": shape(2, 2)}
    made = init.initialize(tree, he_normal, 0)
    assert made["count"] is count
    assert made["mask"].dtype == bool
    with pytest.raises(
        PlanError, match=r"count: a shape without an array has no values to keep\. Add a rule with an initializer"
    ):
        init.initialize({"count": shape(3, dtype="int32"), "kernel": shape(2, 2)}, he_normal, 0)
    with pytest.raises(PlanError, match="to be drawn, got int32"):
        init.initialize(tree, {"count": normal()}, 0, default=normal())
    collections = {"params": {"kernel": shape(2, 2)}, "cache": {"index": jnp.ones((2, 2))}}
    assert init.initialize(collections, he_normal, 0)["cache"]["index"] is collections["cache"]["index"]


def test_random_keys_are_kept():
    class Drops(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(3, 4, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)

    model = Drops(nnx.Rngs(0))
    made = init.initialize(model, he_normal, 0)
    assert made.drop.rngs.key is not None
    assert jnp.array_equal(jax.random.key_data(made.drop.rngs.key[...]), jax.random.key_data(model.drop.rngs.key[...]))
    shapes = nnx.eval_shape(lambda: Drops(nnx.Rngs(0)))
    with pytest.raises(PlanError, match=r"drop\.rngs\.key: initlib draws no random keys"):
        init.initialize(shapes, he_normal, 0)
    nnx.reseed(shapes, default=0)
    assert np.array_equal(init.initialize(shapes, he_normal, 0).linear.kernel[...], made.linear.kernel[...])


def test_the_state_of_an_optimizer_is_kept():
    optax = pytest.importorskip("optax")
    from flax.training.train_state import TrainState

    linear = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
    weights = {"dense": {"kernel": jnp.arange(12.0).reshape(3, 4) % 5, "bias": jnp.zeros(4)}}
    made = TrainState.create(apply_fn=None, params=weights, tx=optax.adam(1.0))
    moments = jax.tree.map(lambda array: jnp.full_like(array, 2), made.opt_state)
    state = init.initialize(made.replace(opt_state=moments), he_normal, 0)
    assert same(state.opt_state, moments)
    assert np.array_equal(state.params["dense"]["kernel"], he_normal((3, 4), seed=0, name="dense.kernel"))
    optimizer = nnx.Optimizer(linear, optax.adam(1.0), wrt=nnx.Param)
    assert same(nnx.state(init.initialize(optimizer, he_normal, 0)), nnx.state(optimizer))
    with pytest.raises(
        PlanError, match=r"opt_state\.0\.mu\.dense\.kernel, .*: a shape without an array has no values to keep"
    ):
        init.initialize(jax.eval_shape(lambda: made), he_normal, 0)

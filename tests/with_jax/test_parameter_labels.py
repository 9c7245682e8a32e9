"""Labels of parameters: the learning rates and weight decays of muP in the transformations of optax."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

optax = pytest.importorskip("optax")

import initlib.adapters.jax as init
from initlib import mup_learning_rates, normal

RATE, DECAY = 0.5, 0.25


def network(width):
    return {
        "first": {"kernel": jnp.ones((8, width)), "bias": jnp.ones(width)},
        "hidden": {"kernel": jnp.ones((width,) * 2)},
    }


def multipliers_of(make, optimizer="sgd", **options):
    wide, base = (init.plan(make(width), normal(std=0.02), **options) for width in (64, 16))
    return mup_learning_rates(wide, base, optimizer)


def trained(params, labels, groups, steps=1):
    """Return the parameters after steps of gradient descent, with gradients of 1 and decayed weights."""
    transforms = {
        label: optax.chain(optax.add_decayed_weights(DECAY * each["weight_decay"]), optax.sgd(RATE * each["lr"]))
        for label, each in groups.items()
    }
    optimizer = optax.multi_transform(transforms, labels)
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
        params = optax.apply_updates(params, updates)
    return params


def expected(multipliers):
    """Return a parameter of value 1 after one step."""
    return 1 - RATE * multipliers["lr"] * (1 + DECAY * multipliers["weight_decay"])


def test_one_step_has_the_scaled_learning_rate_and_weight_decay_of_each_parameter():
    params, multipliers = network(64), multipliers_of(network)
    labels, groups = init.parameter_labels(params, multipliers)
    assert {name: each["lr"] for name, each in multipliers.items()} == {
        "first.bias": 4,
        "first.kernel": 4,
        "hidden.kernel": 1,
    }
    assert labels["first"]["bias"] == labels["first"]["kernel"] != labels["hidden"]["kernel"]
    assert len(groups) == 2
    after = trained(params, labels, groups)
    for layer, name in (("first", "kernel"), ("first", "bias"), ("hidden", "kernel")):
        assert np.allclose(after[layer][name], expected(multipliers[f"{layer}.{name}"])), name


def test_adam_takes_a_scaled_step():
    params, multipliers = network(64), multipliers_of(network, "adam")
    labels, groups = init.parameter_labels(params, multipliers)
    optimizer = optax.multi_transform({label: optax.adam(RATE * each["lr"]) for label, each in groups.items()}, labels)
    updates, _ = optimizer.update(params, optimizer.init(params))
    assert np.allclose(updates["first"]["kernel"], -RATE)
    assert np.allclose(updates["hidden"]["kernel"], -RATE / 4)


@pytest.mark.parametrize("level", [True, False], ids=["variables", "params"])
@pytest.mark.parametrize("partitioned", [True, False])
def test_parameters_of_linen(level, partitioned):
    nn = pytest.importorskip("flax.linen")
    ones = nn.initializers.ones

    class Network(nn.Module):
        width: int

        @nn.compact
        def __call__(self, x):
            kernel = nn.with_partitioning(ones, (None, "model")) if partitioned else ones
            x = nn.Dense(self.width, kernel_init=kernel, bias_init=ones)(x)
            return nn.Dense(self.width, kernel_init=kernel, bias_init=ones)(x)

    def make(width):
        variables = Network(width).init(jax.random.key(0), jnp.ones((1, 8)))
        return variables if level else variables["params"]

    params, multipliers = make(64), multipliers_of(make)
    after = nn.meta.unbox(trained(params, *init.parameter_labels(params, multipliers)))
    after = after["params"] if level else after
    for layer in ("Dense_0", "Dense_1"):
        for name in ("kernel", "bias"):
            assert np.allclose(after[layer][name], expected(multipliers[f"{layer}.{name}"])), (layer, name)


def test_an_optimizer_of_nnx():
    nnx = pytest.importorskip("flax.nnx")

    class Network(nnx.Module):
        def __init__(self, width):
            self.first = nnx.Linear(8, width, rngs=nnx.Rngs(0))
            self.hidden = nnx.Linear(width, width, rngs=nnx.Rngs(0))
            self.norm = nnx.BatchNorm(width, rngs=nnx.Rngs(0))

    multipliers = multipliers_of(Network)
    model = Network(64)
    state = nnx.state(model, nnx.Param)
    labels, groups = init.parameter_labels(state, multipliers)
    transforms = {label: optax.sgd(RATE * each["lr"]) for label, each in groups.items()}
    optimizer = nnx.Optimizer(model, optax.multi_transform(transforms, labels), wrt=nnx.Param)
    before = jax.tree.map(np.array, nnx.to_pure_dict(state))
    for _ in range(2):
        optimizer.update(model, jax.tree.map(jnp.ones_like, nnx.state(model, nnx.Param)))
    after = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    for layer, arrays in before.items():
        for name, array in arrays.items():
            step = 2 * RATE * multipliers[f"{layer}.{name}"]["lr"]
            assert np.allclose(array - after[layer][name], step, atol=1e-6), (layer, name)


def test_parameters_of_equinox():
    equinox = pytest.importorskip("equinox")

    def make(width):
        model = equinox.nn.MLP(8, 4, width, 2, key=jax.random.key(0))
        return jax.tree.map(jnp.ones_like, equinox.filter(model, equinox.is_inexact_array))

    params, multipliers = make(64), multipliers_of(make)
    labels, groups = init.parameter_labels(params, multipliers)
    after = trained(params, lambda _: labels, groups)  # optax calls a callable pytree
    for index, layer in enumerate(after.layers):
        assert np.allclose(layer.weight, expected(multipliers[f"layers.{index}.weight"]))
        assert np.allclose(layer.bias, expected(multipliers[f"layers.{index}.bias"]))


def test_a_stack_of_layers_has_the_label_of_its_layers():
    def make(width):
        return {"first": jnp.ones((8, width)), "layers": {"kernel": jnp.ones((3, width, width))}}

    stack, axes = {"layers": "layers.{i}"}, {"first": "IO"}
    multipliers = multipliers_of(make, stack=stack, axes=axes)
    params = make(64)
    labels, groups = init.parameter_labels(params, multipliers, stack=stack)
    assert groups[labels["layers"]["kernel"]] == multipliers["layers.2.kernel"]
    assert np.allclose(trained(params, labels, groups)["layers"]["kernel"], expected(multipliers["layers.2.kernel"]))
    multipliers["layers.1.kernel"] = {"lr": 3.0}
    with pytest.raises(
        ValueError, match=r"multipliers of the layers in 'layers\.kernel' must be equal.*'layers\.1\.ker"
    ):
        init.parameter_labels(params, multipliers, stack=stack)
    with pytest.raises(ValueError, match="stack 'blocks' matches nothing"):
        init.parameter_labels(network(64), multipliers_of(network), stack={"blocks": "blocks.{i}"})


def test_a_parameter_without_multipliers_is_named():
    multipliers = multipliers_of(network)
    params = network(64) | {"last": {"bias": jnp.ones(3)}}
    with pytest.raises(ValueError, match=r"multipliers must have every parameter of params, got none for 'last\.bias'"):
        init.parameter_labels(params, multipliers)


def test_the_adapter_does_not_import_optax():
    code = "import sys, initlib.adapters.jax as init; init.parameter_labels; sys.exit('optax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Signals of functions of JAX and of models of Flax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference_network import BATCH, BIASES, TARGET, WEIGHTS, compare

import initlib.adapters.jax as init
from initlib import he_normal

PARAMS = [{"b": b, "w": w} for w, b in zip(WEIGHTS, BIASES, strict=True)]


def network(params, x):
    x = jax.nn.relu(x @ params[0]["w"] + params[0]["b"])
    x = jnp.tanh(x @ params[1]["w"] + params[1]["b"])
    return x @ params[2]["w"] + params[2]["b"]


def mean_square_error(y):
    return jnp.mean((y - TARGET) ** 2)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, jax.checkpoint])
def test_the_report_has_the_numbers_of_the_reference(transform):
    order = (1, 0, 3, 2, 5, 4)
    compare(init.signals(transform(network), PARAMS, BATCH, mean_square_error, learning_rate=0.1), True, order)
    compare(init.signals(transform(network), PARAMS, (16, 20), learning_rate=0.1), False, order)


def test_activations_have_the_names_of_modules():
    report = init.signals(network, PARAMS, (16, 20))
    assert [row.name for row in report.activations] == ["dot()", "relu()", "dot()#2", "tanh()", "dot()#3"]
    assert [row.name for row in report.parameters] == ["0.b", "0.w", "1.b", "1.w", "2.b", "2.w"]


def test_inputs_of_layers_sums_and_outputs_are_activations():
    """Any number of operations may compute an activation."""

    def function(params, ids):
        x = params["table"][ids]
        for w in params["weights"]:
            x = x + jax.nn.gelu(x) @ w
        return jax.nn.softmax(x)

    params = {"table": WEIGHTS[1], "weights": [np.eye(32, dtype=np.float32)] * 2}
    report = init.signals(function, params, np.arange(12).reshape(2, 6))
    names = ["embedding()", "function()", "dot()", "add()", "function()#2", "dot()#2", "add()#2", "function()#3"]
    assert [row.name for row in report.activations] == names
    assert report.input_std is None
    assert all(row.gradient_std > 0 for row in report.activations)


def test_convolutions_and_maps_are_measured():
    def function(w, x):
        y = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME")
        return jax.vmap(jnp.tanh)(y).mean((2, 3)) @ jnp.ones((4, 2))

    report = init.signals(function, WEIGHTS[0][:18].reshape(-1)[:108].reshape(4, 3, 3, 3), (2, 3, 8, 8))
    assert [row.name for row in report.activations] == ["conv()", "function()", "dot()"]
    assert report.activations[0].width == 4


def test_leaves_that_are_no_arrays_stay():
    def function(params, x):
        return params["activation"](x @ params["w"]) * params["scale"]

    report = init.signals(function, {"activation": jnp.tanh, "scale": 2.0, "w": WEIGHTS[0]}, (16, 20))
    assert [row.name for row in report.parameters] == ["w"]
    assert [row.name for row in report.activations] == ["dot()", "function()"]


def test_integers_have_no_gradient():
    report = init.signals(lambda p, x: x @ p["w"] + p["steps"], {"steps": np.array(3), "w": WEIGHTS[0]}, (16, 20))
    assert [row.gradient_std is None for row in report.parameters] == [True, False]


def test_flax_models_are_measured():
    linen = pytest.importorskip("flax.linen")

    class Block(linen.Module):
        @linen.compact
        def __call__(self, x):
            return x + linen.Dense(20)(linen.relu(linen.LayerNorm()(x)))

    class Model(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(5, name="head")(Block(name="block")(x))

    model = Model()
    variables = model.init(jax.random.key(0), BATCH)
    report = init.signals(model.apply, variables, BATCH)
    assert [row.name for row in report.activations] == ["block.Dense_0", "block.add()", "head"]
    assert "block.Dense_0.kernel" in [row.name for row in report.parameters]


def test_names_are_those_of_plans():
    nnx = pytest.importorskip("flax.nnx")

    class Model(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(20, 8, rngs=rngs)
            self.drop = nnx.Dropout(0.0, rngs=rngs)
            self.second = nnx.Linear(8, 8, rngs=rngs)
            self.again = self.first

        def __call__(self, x):
            return self.second(self.drop(self.first(x)))

    graph, state = nnx.split(Model(nnx.Rngs(0)))
    names = [entry.parameter.name for entry in init.plan(state, he_normal).entries]
    report = init.signals(lambda state, x: nnx.merge(graph, state)(x), state, BATCH)
    assert [row.name for row in report.parameters] == names
    assert [tensor.name for tensor in init.audit(state).tensors] == names


def test_a_batch_may_be_a_list_of_arguments():
    report = init.signals(lambda w, x, y: x @ w + y @ w, WEIGHTS[0], [BATCH, 2 * BATCH])
    assert [row.name for row in report.activations] == ["dot()", "dot()#2", "add()"]


def l2_loss(output, targets):
    return jnp.mean((output - targets) ** 2)


def test_wrong_arguments_are_errors():
    with pytest.raises(ValueError, match=r"loss must return one number, got shape \(16, 5\)"):
        init.signals(network, PARAMS, BATCH, lambda y: y)
    with pytest.raises(ValueError, match="batch must hold inputs that differ, got the same input 16 times"):
        init.signals(network, PARAMS, np.ones((16, 20), np.float32))
    with pytest.raises(ValueError, match="learning_rate must be above 0"):
        init.signals(network, PARAMS, BATCH, learning_rate=-1)
    with pytest.raises(TypeError, match=r"loss must be a function of the model's output, got a .*\. Pass targets by"):
        init.signals(network, PARAMS, BATCH, BATCH)
    with pytest.raises(TypeError, match=r"loss must take the model's output alone, got l2_loss\(output, targets\)\."):
        init.signals(network, PARAMS, BATCH, l2_loss)
    with pytest.raises(TypeError, match=r"function must be a function of \(params, batch\), got a list"):
        init.signals(PARAMS, network, BATCH)
    with pytest.raises(ValueError, match=r"without floats\. Pass loss="):
        init.signals(lambda p, x: x.astype(int), PARAMS, BATCH)


@pytest.mark.parametrize("loss", [lambda y: jax.lax.stop_gradient(y).mean(), lambda y: jnp.ones(())])
def test_a_loss_without_a_gradient_is_not_healthy(loss):
    report = init.signals(network, PARAMS, BATCH, loss)
    assert not report.healthy
    reason = "the gradient of every parameter is 0: check that the loss depends on the output"
    assert {(row.verdict, row.reason) for row in report.parameters} == {("dead", reason)}


@pytest.mark.parametrize("batch", [8, [16, 20], [[0.5] * 20] * 16, None, "text"], ids=repr)
def test_a_batch_without_arrays_is_an_error_that_names_the_argument(batch):
    message = "batch must be an array, a list of arguments, or a shape, got .* A shape is a tuple"
    with pytest.raises(TypeError, match=message) as raised:
        init.signals(network, PARAMS, batch)
    assert raised.value.__cause__ is not None


def test_a_loss_that_returns_no_array_of_jax_is_an_error():
    for value, kind in ((1.0, "a float"), (1, "an int"), (np.float32(1), "a float32")):
        message = rf"loss must return a tensor of one number, got {kind}\. Do not call item\(\)"
        with pytest.raises(ValueError, match=message):
            init.signals(network, PARAMS, BATCH, lambda y, value=value: value)


def test_the_audit_names_the_schemes():
    report = init.audit({"layer": {"kernel": WEIGHTS[0]}, "other": [WEIGHTS[0], 3]})
    assert [tensor.name for tensor in report.tensors] == ["layer.kernel", "other.0"]
    assert [tensor.name for tensor in report.found("duplicates")] == ["other.0"]


def test_an_order_of_axes_that_is_not_allowed_is_an_error():
    with pytest.raises(ValueError, match=r"axes must be one of OI\.\.\., \.\.\.IO, got 'IO'"):
        init.audit({"kernel": WEIGHTS[0]}, axes="IO")

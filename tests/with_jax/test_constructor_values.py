"""Values that constructors set on purpose: they stay, or the plan has a note or an error."""

import re

import jax
import numpy as np
import pytest

from initlib import PlanError, constant, he_normal, keep, normal, zeros

pytest.importorskip("flax")
import jax.numpy as jnp
from flax import linen, nnx

import initlib.adapters.jax as init

KEY = jax.random.key(0)
POSITIONS = np.arange(16)[:, None] / 10000 ** (np.arange(0, 8, 2) / 8)
SINUSOIDS = np.concatenate([np.sin(POSITIONS), np.cos(POSITIONS)], 1)


def notes(plan):
    return {entry.parameter.name: (entry.filling, *entry.notes) for entry in plan.entries}


# Constants, zeros, masks


class Gated(linen.Module):
    @linen.compact
    def __call__(self, x):
        gamma = self.param("gamma", linen.initializers.constant(0.1), (1, 1, 8))
        x = linen.Dense(8, bias_init=linen.initializers.constant(-4.6))(x) * gamma
        return linen.Dense(4, kernel_init=linen.initializers.zeros, name="out")(x)


@pytest.mark.parametrize("default", [normal(std=0.02), he_normal])
def test_constants_of_a_linen_model_are_kept_with_a_note(default):
    variables = Gated().init(KEY, jnp.ones((1, 2, 8)))
    with pytest.warns(UserWarning, match=r"out\.kernel: all weights are zeros, set by a constructor"):
        plan = notes(init.plan(variables, default=default))
    assert plan["gamma"] == (constant(0.1), "0.1 as constructed")
    assert plan["Dense_0.bias"] == (constant(-4.6), "-4.6 as constructed")
    assert plan["out.kernel"] == (default, "zeros as constructed (may be fresh memory)")
    assert plan["Dense_0.kernel"] == (default,)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (np.arange(5.0), "vector"),
        (np.log(np.tile(np.arange(1.0, 5.0), (8, 1))), "equal rows"),
        (np.eye(6), "identity"),
        (np.tri(8), "mask"),
        (SINUSOIDS, "sinusoids"),
        (np.arange(256.0).reshape(16, 16), "grid"),
    ],
)
def test_values_that_no_initializer_draws_need_a_rule(value, name):
    tree = {"made": {"table": jnp.asarray(value, "float32")}}
    with pytest.raises(PlanError, match=r'made\.table: .* Add the rule {"\*\.table": keep}'):
        init.plan(tree, default=normal(std=0.02))
    made = init.initialize(tree, {"*.table": keep}, 0, default=normal(std=0.02))
    assert made["made"]["table"] is tree["made"]["table"]


def test_zeros_of_a_class_are_kept():
    head = nnx.Linear(4, 4, kernel_init=nnx.initializers.zeros, rngs=nnx.Rngs(0))
    assert notes(init.plan(head, he_normal))["kernel"] == (zeros, "zeros as constructed")


def test_blank_arrays_are_filled_with_a_warning():
    blank = {"dense": {"kernel": jnp.zeros((3, 4)), "bias": jnp.zeros(4)}, "one": {"kernel": jnp.zeros((1, 1))}}
    with pytest.warns(
        UserWarning,
        match=r"dense\.kernel and 1 more: all weights are zeros, set by a constructor",
    ):
        made = init.initialize(blank, he_normal, 0)
    assert np.array_equal(made["dense"]["kernel"], he_normal((3, 4), seed=0, name="dense.kernel"))
    assert made["one"]["kernel"].any()


def test_biases_that_differ_need_a_rule():
    tree = {"dense": {"kernel": jax.random.normal(KEY, (4, 4)), "bias": jnp.array([0.0, 0, 1, 1])}}
    with pytest.raises(PlanError, match=r"dense\.bias: .* the constructor set values that are not all equal"):
        init.plan(tree, he_normal)


def test_a_constant_in_one_layer_of_a_stack_stays_in_that_layer():
    scales = jnp.stack([jnp.full(3, 0.1), jnp.full(3, 0.2)])
    made = init.initialize({"layers": {"gamma": scales}}, normal(), 0, stack={"layers": "layers.{i}"})
    assert np.array_equal(made["layers"]["gamma"], scales)


def test_arrays_and_variables_of_nnx_that_are_no_parameters_are_kept():
    class Masked(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(4, 4, rngs=rngs)
            self.mask = nnx.Variable(jnp.tril(jnp.ones((4, 4))))
            self.bare = nnx.data(jnp.tril(jnp.ones((4, 4))))
            self.frequencies = nnx.data(jnp.arange(1.0, 9.0))

    model = Masked(nnx.Rngs(0))
    plan = init.plan(model, normal(std=0.02))
    assert [name for name, (filling, *_) in notes(plan).items() if filling is keep] == ["bare", "frequencies", "mask"]
    mask, bare = model.mask.get_value(), model.bare
    init.initialize(model, normal(std=0.02), 0)
    assert model.mask.get_value() is mask
    assert model.bare is bare
    init.initialize(model, {"bare": zeros}, 0, default=normal())
    assert not model.bare.any()


def test_unmatched_parameters_can_be_kept():
    tree = {"head": {"kernel": jnp.ones((3, 4))}, "body": {"kernel": jax.random.normal(KEY, (3, 4))}}
    made = init.initialize(tree, {"head.kernel": he_normal}, 0, unmatched="keep")
    assert made["body"]["kernel"] is tree["body"]["kernel"]
    assert np.array_equal(made["head"]["kernel"], he_normal((3, 4), seed=0, name="head.kernel"))
    plan = init.plan(tree, {"head.kernel": he_normal}, unmatched="keep")
    assert plan["body.kernel"].notes == ("no rule matches",)


# Weight norm: the layer computes with the drawn kernel


def test_weight_norm_of_linen_starts_with_the_drawn_kernel():
    model = linen.WeightNorm(linen.Dense(4, use_bias=False))
    shapes = jax.eval_shape(model.init, KEY, jnp.ones((1, 3)))
    scale = next(name for name in notes(init.plan(shapes, he_normal)) if name.endswith("scale"))
    assert notes(init.plan(shapes, he_normal))[scale] == (keep, "norms of the drawn layer_instance.kernel")
    for variables in (shapes, model.init(KEY, jnp.ones((1, 3)))):
        for made in (
            init.initialize(variables, he_normal, 0),
            jax.jit(lambda variables: init.initialize(variables, he_normal, 0))(model.init(KEY, jnp.ones((1, 3)))),
        ):
            kernel = he_normal((3, 4), seed=0, name="layer_instance.kernel")
            assert np.allclose(model.apply(made, jnp.eye(3)), kernel, atol=1e-6)


def test_weight_norm_of_nnx_starts_with_the_drawn_kernel():
    rngs = nnx.Rngs(0)
    model = nnx.WeightNorm(nnx.Conv(3, 4, (3, 3), use_bias=False, padding="VALID", rngs=rngs), rngs=rngs)
    init.initialize(model, he_normal, 0)
    kernel = he_normal((3, 3, 3, 4), seed=0, name="layer_instance.kernel")
    one = jnp.zeros((1, 3, 3, 3)).at[0, 1, 2, 0].set(1)
    assert np.allclose(model(one)[0, 0, 0], kernel[1, 2, 0], atol=1e-6)


def test_weight_norm_of_equinox_starts_with_the_drawn_kernel():
    equinox = pytest.importorskip("equinox")
    model = equinox.nn.WeightNorm(equinox.nn.Linear(3, 4, use_bias=False, key=KEY))
    made = init.initialize(model, he_normal, 0)
    kernel = he_normal((4, 3), axes="OI", seed=0, name="layer.weight")
    assert np.allclose(jax.vmap(made)(jnp.eye(3)).T, kernel, atol=1e-6)


def test_a_rule_for_the_scales_of_weight_norm_comes_first():
    model = linen.WeightNorm(linen.Dense(4, use_bias=False))
    made = init.initialize(model.init(KEY, jnp.ones((1, 3))), {"*/scale": constant(2)}, 0, default=he_normal)
    norms = jnp.linalg.norm(model.apply(made, jnp.eye(3)), axis=0)
    assert np.allclose(norms, 2, atol=1e-6)
    kept = init.plan(model.init(KEY, jnp.ones((1, 3))), {"*.kernel": keep})
    assert all(filling is keep for filling, *_ in notes(kept).values())


# Equinox


def test_layers_of_equinox_have_known_axes():
    equinox = pytest.importorskip("equinox")
    layers = {
        "linear": equinox.nn.Linear(4, 3, key=KEY),
        "conv": equinox.nn.Conv2d(4, 6, 3, groups=2, key=KEY),
        "transposed": equinox.nn.ConvTranspose1d(4, 6, 3, key=KEY),
        "gru": equinox.nn.GRUCell(4, 5, key=KEY),
        "norm": equinox.nn.LayerNorm(4),
        "table": equinox.nn.Embedding(7, 4, key=KEY),
    }
    plan = init.plan(layers, he_normal)
    axes = {entry.parameter.name: entry.parameter.axes for entry in plan.entries if entry.parameter.axes}
    assert axes == {
        "linear.weight": "OI",
        "conv.weight": "(2 O)IHW",
        "transposed.weight": "OIW",
        "gru.weight_ih": "(3 O)I",
        "gru.weight_hh": "(3 O)I",
        "table.weight": "IO",
    }
    assert plan["gru.weight_hh"].parameter.kind == "recurrent"
    assert {row["initializer"] for row in plan.to_dicts() if "bias" in row["name"]} == {"zeros"}


def test_a_bias_of_equinox_outside_of_the_range_of_its_constructor_needs_a_rule():
    equinox = pytest.importorskip("equinox")
    cell = equinox.nn.LSTMCell(4, 4, key=KEY)
    cell = equinox.tree_at(lambda cell: cell.bias, cell, cell.bias.at[4:8].set(1.0))
    with pytest.raises(PlanError, match=r'bias: .* Add the rule {"bias": keep}'):
        init.plan(cell, he_normal)


# Modules of nnx are filled in place


class Tied(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(4, 4, rngs=rngs)
        self.second = self.first
        self.blocks = nnx.List([nnx.Linear(4, 4, rngs=rngs), self.first])


def test_a_module_is_filled_in_place_and_returned():
    model = Tied(nnx.Rngs(0))
    first, kernel = model.first, model.first.kernel
    assert init.initialize(model, he_normal, 0) is model
    assert model.first is model.second is model.blocks[1] is first
    assert np.array_equal(kernel[...], he_normal((4, 4), seed=0, name="blocks.1.kernel"))
    names = init.plan(model, he_normal)["first.kernel"].parameter.names
    assert names == ("blocks.1.kernel", "first.kernel", "second.kernel")


def test_modules_in_other_containers_are_filled_in_place():
    model = nnx.Linear(4, 4, rngs=nnx.Rngs(0))
    tree = {"actor": model, "critic": model, "log_std": jnp.zeros(3)}
    made = init.initialize(tree, he_normal, 0)
    assert made["actor"] is made["critic"] is model
    assert np.array_equal(model.kernel[...], he_normal((4, 4), seed=0, name="actor.kernel"))


def test_a_module_that_holds_itself_is_filled():
    class Node(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(4, 4, rngs=rngs)
            self.parent = nnx.data(self)
            self.child = nnx.data({"up": self})

    model = Node(nnx.Rngs(0))
    init.initialize(model, he_normal, 0)
    assert model.parent is model
    assert np.array_equal(model.linear.kernel[...], he_normal((4, 4), seed=0, name="linear.kernel"))


def test_a_module_that_is_no_pytree_is_filled():
    class Plain(nnx.Module, pytree=False):
        def __init__(self, rngs):
            self.linear = nnx.Linear(4, 4, rngs=rngs)
            self.width = 4

    model = Plain(nnx.Rngs(0))
    init.initialize(model, he_normal, 0)
    assert np.array_equal(model.linear.kernel[...], he_normal((4, 4), seed=0, name="linear.kernel"))


def test_a_module_of_another_trace_is_an_error():
    model = nnx.Linear(4, 4, rngs=nnx.Rngs(0))
    before = model.kernel.get_value()
    with pytest.raises(ValueError, match=r"made in this trace, got a module made outside of the trace"):
        jax.jit(lambda key: init.initialize(model, he_normal, key) and None)(KEY)
    assert model.kernel.get_value() is before
    state = jax.jit(lambda key: init.initialize(nnx.state(model), he_normal, key))(KEY)
    assert np.array_equal(state["kernel"].get_value(), he_normal((4, 4), seed=0, name="kernel"))


def test_nnx_jit_fills_the_module_that_it_was_given():
    model = nnx.Linear(4, 4, rngs=nnx.Rngs(0))
    nnx.jit(lambda model: init.initialize(model, he_normal, 0) and None)(model)
    assert np.array_equal(model.kernel[...], he_normal((4, 4), seed=0, name="kernel"))


def test_a_trained_module_can_be_initialized_again():
    model = nnx.Linear(4, 4, rngs=nnx.Rngs(0))
    init.initialize(model, {"*": zeros}, 0)
    model.bias[...] = jnp.arange(4.0)
    init.initialize(model, he_normal, 0)
    assert np.array_equal(model.kernel[...], he_normal((4, 4), seed=0, name="kernel"))
    assert not model.bias[...].any()


# Names without linen's params


def test_variables_and_their_params_have_the_same_weights():
    from flax.training.train_state import TrainState

    optax = pytest.importorskip("optax")
    variables = jax.eval_shape(linen.Dense(4).init, KEY, jnp.ones((1, 3)))
    whole, alone = (init.initialize(tree, he_normal, 0) for tree in (variables, variables["params"]))
    assert np.array_equal(whole["params"]["kernel"], alone["kernel"])
    params = linen.Dense(4).init(KEY, jnp.ones((1, 3)))["params"]
    state = TrainState.create(apply_fn=None, params=params, tx=optax.sgd(1.0))
    assert np.array_equal(init.initialize(state, he_normal, 0).params["kernel"], alone["kernel"])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"rules": {"params.out.kernel": zeros}, "default": he_normal}, "rule 'params.out.kernel'"),
        ({"rules": he_normal, "axes": {"params.*.kernel": "IO"}}, "axes 'params.*.kernel'"),
        ({"rules": he_normal, "rename": {"params.*": "*"}}, "rename 'params.*'"),
        ({"rules": he_normal, "stack": {"params.out": "params.out.{i}"}}, "stack 'params.out'"),
    ],
    ids=["rule", "axes", "rename", "stack"],
)
def test_a_pattern_with_params_gets_a_hint(arguments, problem):
    variables = jax.eval_shape(linen.Dense(4, name="out").init, KEY, jnp.ones((1, 3)))
    rest = re.search(r"params\.([^']*)", problem)[1]
    with pytest.raises(PlanError) as error:
        init.plan({"params": {"out": variables["params"]}}, **arguments)
    assert error.value.problems[0].startswith(problem)
    assert error.value.problems[0].endswith(f"; names do not begin with 'params.': write {rest!r}")


def test_the_hint_for_a_stack_at_the_root_can_be_followed():
    stacked = nnx.vmap(lambda rngs: nnx.Linear(4, 4, rngs=rngs))(nnx.Rngs(0).split(3))
    with pytest.raises(PlanError, match=r"If the array is a stack of layers, pass stack={'\*': '{i}\.\*'}"):
        init.plan(stacked, he_normal)
    init.initialize(stacked, he_normal, 0, stack={"*": "{i}.*"})
    assert np.array_equal(stacked.kernel[1], he_normal((4, 4), seed=0, name="1.kernel"))

"""`verify` finds each difference of live weights from a plan and a seed, and nothing else."""

import jax
import numpy as np
import pytest

import initlib
from initlib import he_normal, keep, orthogonal, values

pytest.importorskip("flax")
import jax.numpy as jnp
from flax import linen, nnx

import initlib.adapters.jax as init

SHAPES = {
    "q": {"kernel": jax.ShapeDtypeStruct((64, 64), "bfloat16"), "bias": jax.ShapeDtypeStruct((64,), "float32")},
    "k": {"kernel": jax.ShapeDtypeStruct((64, 64), "bfloat16")},
    "layers": {"kernel": jax.ShapeDtypeStruct((3, 48, 32), "float32")},
    "square": {"kernel": jax.ShapeDtypeStruct((32, 32), "float32")},
}
RULES = {"square.kernel": orthogonal()}
OPTIONS = {"default": he_normal, "stack": {"layers": "layers.{i}"}}


@pytest.fixture(scope="module")
def plan():
    return init.plan(SHAPES, RULES, **OPTIONS)


@pytest.fixture
def weights():
    return init.initialize(SHAPES, RULES, 0, **OPTIONS)


def verify(weights, plan, seed=0, **options):
    return [(each.name, each.what, each.index) for each in init.verify(weights, plan, seed, **OPTIONS_OF, **options)]


OPTIONS_OF = {"stack": OPTIONS["stack"]}


@pytest.mark.parametrize("whole", [False, True])
def test_nothing_differs_after_initialize(plan, weights, whole):
    for seed in (0, initlib.Key(0), jax.random.key(0)):
        assert verify(weights, plan, seed, whole=whole) == []
    traced = jax.jit(lambda key: init.initialize(SHAPES, RULES, key, **OPTIONS))(jax.random.key(0))
    assert verify(traced, plan, whole=whole) == []


def test_one_changed_weight_is_found_with_its_layer_and_index(plan, weights):
    weights["layers"]["kernel"] = weights["layers"]["kernel"].at[1, 5, 7].add(1e-3)
    assert verify(weights, plan, whole=True) == [("layers.1.kernel", "differs from weight", (5, 7))]


def test_swapped_rows_swapped_arrays_and_another_seed_are_found(plan, weights):
    swapped = {
        **weights,
        "q": {
            **weights["q"],
            "kernel": weights["q"]["kernel"].at[jnp.array([2, 3])].set(weights["q"]["kernel"][jnp.array([3, 2])]),
        },
    }
    assert verify(swapped, plan, whole=True) == [("q.kernel", "differs from weight", (2, 0))]
    exchanged = {**weights, "q": {**weights["q"], **weights["k"]}, "k": {"kernel": weights["q"]["kernel"]}}
    assert [name for name, _, _ in verify(exchanged, plan)] == ["k.kernel", "q.kernel"]
    names = [name for name, _, _ in verify(weights, plan, seed=1)]
    assert names == ["k.kernel", "layers.0.kernel", "q.kernel", "square.kernel"]


def test_names_shapes_and_dtypes_are_compared(plan, weights):
    del weights["k"]
    weights["extra"] = jnp.zeros(3)
    weights["q"] = {"kernel": weights["q"]["kernel"].astype("float32"), "bias": jnp.zeros(65)}
    weights["square"] = SHAPES["square"]
    assert verify(weights, plan) == [
        ("extra", "is not in the plan", None),
        ("q.bias", "has shape (65,), the plan has (64,)", None),
        ("q.kernel", "has dtype float32, the plan has bfloat16", None),
        ("square.kernel", "has no values: it is a shape", None),
        ("k.kernel", "is not there", None),
    ]


def test_kept_and_integer_arrays_are_compared_by_shape_and_dtype():
    tree = {"kernel": jnp.ones((3, 4)), "count": jnp.arange(3), "table": jnp.zeros((2, 2))}
    plan = init.plan(tree, {"kernel": keep, "table": values([[1.0, 2.0], [3.0, 4.0]])})
    tree = init.initialize(tree, {"kernel": keep, "table": values([[1.0, 2.0], [3.0, 4.0]])}, 0)
    assert init.verify({**tree, "kernel": tree["kernel"] * 2, "count": tree["count"] + 1}, plan, 0) == ()
    assert [each.index for each in init.verify({**tree, "table": tree["table"] + 1}, plan, 0)] == [(0, 0)]


def test_a_module_with_ties_is_compared_once():
    class Tied(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(4, 4, rngs=rngs)
            self.second = self.first

    model = Tied(nnx.Rngs(0))
    plan = init.plan(model, he_normal)
    init.initialize(model, he_normal, 3)
    assert init.verify(model, plan, 3) == ()
    model.first.kernel[...] = model.first.kernel[...] + 1
    assert [(each.name, each.index) for each in init.verify(model, plan, 3)] == [("first.kernel", (0, 0))]


def test_weight_norm_is_compared_as_the_layer_computes_it():
    model = linen.WeightNorm(linen.Dense(4, use_bias=False))
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((1, 3)))
    plan, made = init.plan(shapes, he_normal), init.initialize(shapes, he_normal, 0)
    assert init.verify(made, plan, 0) == ()
    halved = jax.tree.map(lambda array: array * 0.5 if array.ndim == 2 else array, made)  # the direction alone counts
    assert init.verify(halved, plan, 0) == ()
    scaled = jax.tree.map(lambda array: array * 0.5 if array.ndim == 1 else array, made)
    assert [each.name for each in init.verify(scaled, plan, 0)] == ["layer_instance.kernel"]
    assert np.isfinite(model.apply(made, jnp.eye(3))).all()

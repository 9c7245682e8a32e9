import jax
import numpy as np
import pytest

from initlib import PlanError, glorot_uniform, he_normal, keep, normal, zeros

pytest.importorskip("flax")
import jax.numpy as jnp
from flax import linen, nnx

import initlib.adapters.jax as init
from initlib.adapters.jax.models.stacks import Stacks

KEY = jax.random.key(0)
LAYERS = {"layers": "layers.{i}"}


def shape(*sizes, dtype="float32"):
    return jax.ShapeDtypeStruct(sizes, dtype)


class Block(linen.Module):
    @linen.compact
    def __call__(self, x, _=None):
        return x + linen.Dense(8, name="down")(
            linen.relu(linen.Dense(16, name="up")(linen.RMSNorm(name="norm")(x)))
        ), None


def scanned(axis=0):
    return linen.scan(Block, variable_axes={"params": axis}, split_rngs={"params": True}, length=3)(name="layers")


def test_scanned_linen_layers_are_those_of_an_unrolled_model():
    class Unrolled(linen.Module):
        @linen.compact
        def __call__(self, x):
            for i in range(3):
                x, _ = Block(name=f"layers_{i}")(x)
            return x

    class Scanned(linen.Module):
        @linen.compact
        def __call__(self, x):
            return scanned()(x)[0]

    x = jnp.linspace(-1, 1, 16).reshape(2, 8)
    rules = {"*.down.kernel": lambda parameter: normal(std=0.02) * (1 + parameter.indices[0]) ** -0.5}
    one = init.initialize(
        jax.eval_shape(Unrolled().init, KEY, x), rules, 0, default=he_normal, rename={"layers_*": "layers.*"}
    )
    stack = {"layers": "layers.{i}"}
    shapes = jax.eval_shape(Scanned().init, KEY, x)
    other = init.initialize(shapes, rules, 0, default=he_normal, stack=stack)
    for i in range(3):
        mine = jax.tree.map(lambda array, i=i: array[i], other["params"]["layers"])
        assert jax.tree.all(jax.tree.map(np.array_equal, one["params"][f"layers_{i}"], mine))
    assert np.allclose(Unrolled().apply(one, x), Scanned().apply(other, x), atol=1e-6)
    traced = jax.jit(lambda key: init.initialize(shapes, rules, key, default=he_normal, stack=stack))(KEY)
    assert jax.tree.all(jax.tree.map(np.array_equal, traced, other))


def test_a_plan_of_a_stack_is_that_of_its_layers():
    tree = {"layers": {"attn": {"kernel": shape(3, 4, 4)}, "bias": shape(3, 4)}, "head": {"kernel": shape(4, 2)}}
    plan = init.plan(tree, he_normal, stack=LAYERS)
    unrolled = {f"layers.{i}": {"attn": {"kernel": shape(4, 4)}, "bias": shape(4)} for i in range(3)}
    assert set(plan.entries) == set(init.plan({**unrolled, "head": tree["head"]}, he_normal).entries)
    assert plan["layers.2.attn.kernel"].parameter.axes == "IO"
    made = init.initialize(tree, {"layers.1.attn.kernel": zeros}, 0, default=glorot_uniform, stack=LAYERS)["layers"]
    assert not made["attn"]["kernel"][1].any()
    assert np.array_equal(made["attn"]["kernel"][2], glorot_uniform((4, 4), seed=0, name="layers.2.attn.kernel"))


def test_layers_may_lie_along_another_axis():
    x = jnp.ones((2, 8))
    shapes = [jax.eval_shape(scanned(axis).init, KEY, x)["params"] for axis in (0, 1)]
    first = init.initialize({"layers": shapes[0]}, he_normal, 0, stack=LAYERS)["layers"]
    second = {"layers": ("layers.{i}", 1)}
    for made in (
        init.initialize({"layers": shapes[1]}, he_normal, 0, stack=second),
        jax.jit(lambda key: init.initialize({"layers": shapes[1]}, he_normal, key, stack=second))(KEY),
    ):
        assert made["layers"]["up"]["kernel"].shape == (8, 3, 16)
        moved = jax.tree.map(lambda array: jnp.moveaxis(array, 1, 0), made["layers"])
        assert jax.tree.all(jax.tree.map(np.array_equal, moved, first))
        assert np.array_equal(
            scanned(1).apply({"params": made["layers"]}, x)[0], scanned().apply({"params": first}, x)[0]
        )


@pytest.mark.parametrize(("outer", "inner"), [(0, 0), (0, 1), (1, 0), (2, 1), (1, 2), (2, 2)])
def test_stacks_in_stacks_may_have_any_axis(outer, inner):
    stack = {"layers": ("h.{i}", outer), "h.*.experts": ("h.*.expert.{i}", inner)}
    alone = np.empty((2, 3, 4, 5), np.float32)  # layers, experts
    for i, j in np.ndindex(2, 3):
        alone[i, j] = he_normal((4, 5), seed=0, name=f"h.{i}.expert.{j}.kernel")
    stored = np.moveaxis(np.moveaxis(alone, 1, 1 + inner), 0, outer)
    tree = {"layers": {"experts": {"kernel": shape(*stored.shape)}}}
    for made in (
        init.initialize(tree, he_normal, 0, stack=stack),
        jax.jit(lambda key: init.initialize(tree, he_normal, key, stack=stack))(KEY),
    ):
        assert np.array_equal(made["layers"]["experts"]["kernel"], stored)


def test_stacks_may_hold_stacks():
    stack = {"layers": "h.{i}", "h.*.experts": "h.*.expert.{i}"}
    tree = {"layers": {"experts": {"kernel": shape(2, 3, 4, 5)}, "norm": {"scale": shape(2, 4)}}}
    for made in (
        init.initialize(tree, he_normal, 0, stack=stack),
        jax.jit(lambda key: init.initialize(tree, he_normal, key, stack=stack))(KEY),
    ):
        for i in range(2):
            for j in range(3):
                expected = he_normal((4, 5), seed=0, name=f"h.{i}.expert.{j}.kernel")
                assert np.array_equal(made["layers"]["experts"]["kernel"][i, j], expected)
        assert made["layers"]["norm"]["scale"].tolist() == np.ones((2, 4)).tolist()


def test_nnx_stacks_by_vmap_are_filled():
    class Model(nnx.Module):
        def __init__(self, rngs):
            @nnx.vmap
            def stack(rngs):
                return nnx.Linear(4, 4, rngs=rngs)

            self.layers = stack(rngs.split(3) if hasattr(rngs, "split") else rngs.fork(split=3))

    shapes = nnx.eval_shape(lambda: Model(nnx.Rngs(0)))
    with pytest.raises(
        PlanError,
        match=r"axes must name 3 axes for shape .* If the array is a stack of layers, pass stack={'layers': 'layers",
    ):
        init.plan(shapes, he_normal)
    model = init.initialize(shapes, he_normal, 0, stack=LAYERS)
    assert np.array_equal(model.layers.kernel[1], he_normal((4, 4), seed=0, name="layers.1.kernel"))


def test_rename_sees_the_layers():
    tree = {"layers": {"kernel": shape(3, 4, 4)}}
    for rename in ({"layers.*.kernel": "h.*.w"}, lambda name: f"h.{int(name.split('.')[1])}.w"):
        made = init.initialize(tree, {"h.*.w": he_normal}, 0, stack=LAYERS, rename=rename)["layers"]["kernel"]
        assert np.array_equal(made[2], he_normal((4, 4), seed=0, name="h.2.w"))


def test_axes_are_those_of_a_layer():
    tree = {"layers": {"w": shape(3, 2, 4, 5)}}
    made = init.initialize(tree, he_normal, 0, stack=LAYERS, axes={"layers.*.w": "BIO"})["layers"]["w"]
    assert np.array_equal(made[1], he_normal((2, 4, 5), axes="BIO", seed=0, name="layers.1.w"))


def test_layers_may_be_kept():
    tree = {"layers": {"kernel": jnp.arange(12.0).reshape(3, 2, 2)}}
    made = init.initialize(tree, {"layers.1.*": keep}, 0, default=he_normal, stack=LAYERS)["layers"]["kernel"]
    assert np.array_equal(made[1], tree["layers"]["kernel"][1])
    assert np.array_equal(made[2], he_normal((2, 2), seed=0, name="layers.2.kernel"))
    whole = init.initialize(tree, {"layers.*": keep}, 0, stack=LAYERS)["layers"]["kernel"]
    assert whole is tree["layers"]["kernel"]


def test_a_stack_may_be_empty():
    made = init.initialize({"layers": {"kernel": shape(0, 2, 2)}, "bias": shape(2)}, he_normal, 0, stack=LAYERS)
    assert made["layers"]["kernel"].shape == (0, 2, 2)


@pytest.mark.parametrize(
    ("stack", "words"),
    [
        ({"layer": "layers.{i}"}, "stack 'layer' matches nothing"),
        (
            {"layers": "layers.{i}"},
            r"stack 'layers' must have the same number of layers in every array, got 3 in layers\.a, 2 in layers\.b",
        ),
        ({"layers": "layers.{i}"}, r"along axis 0\. For another axis, pass {'layers': \('layers.{i}', 1\)}"),
        (
            {"other": "other.{i}"},
            r"other\.c: stack 'other' must have its layers along axis 0, got an array of shape \(\)",
        ),
        (
            {"layers": ("layers.{i}", 2)},
            r"layers\.a: stack 'layers' must have its layers along axis 2, .* shape \(3, 4\)",
        ),
    ],
)
def test_stacks_that_do_not_fit_are_errors(stack, words):
    tree = {"layers": {"a": shape(3, 4), "b": shape(2, 4)}, "other": {"c": shape()}}
    with pytest.raises(PlanError, match=words):
        init.plan(tree, normal(), stack=stack)


@pytest.mark.parametrize(
    "name", ["layers", "layers.{i}.{i}", "layers.*.{i}", "", 3, ("layers.{i}", -1), ("layers.{i}", "1"), ("{i}", 1, 2)]
)
def test_wrong_names_of_layers_are_errors(name):
    with pytest.raises((TypeError, ValueError), match="stack of 'layers'"):
        Stacks({"layers": name})


# A seed of its own in a layer that is repeated


SEEDED = init.he_normal(seed=0, name="x")


class Seeded(linen.Module):
    @linen.compact
    def __call__(self, x, _=None):
        return linen.Dense(4, kernel_init=SEEDED)(x), None


@pytest.mark.parametrize(
    "make",
    [
        lambda: jax.vmap(lambda key: SEEDED(key, (4, 4)))(jax.random.split(KEY, 3)),
        lambda: jax.vmap(jax.jit(lambda key: SEEDED(key, (4, 4))))(jax.random.split(jax.random.PRNGKey(0), 3)),
        lambda: linen.vmap(
            Seeded, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=None, axis_size=3
        )().init(KEY, jnp.ones((2, 4))),
        lambda: nnx.vmap(lambda rngs: nnx.Linear(4, 4, kernel_init=SEEDED, rngs=rngs))(nnx.Rngs(0).split(3)),
    ],
    ids=["vmap", "vmap of jit", "linen.vmap", "nnx.vmap"],
)
def test_a_seed_under_vmap_is_refused(make):
    with pytest.raises(ValueError, match="got a seed that would make all 3 layers equal"):
        make()


def test_a_seed_outside_of_vmap_is_allowed():
    expected = SEEDED(KEY, (4, 4))
    assert np.array_equal(jax.jit(lambda key: SEEDED(key, (4, 4)))(KEY), expected)
    assert jax.eval_shape(lambda key: SEEDED(key, (4, 4)), KEY).shape == (4, 4)
    alone = jax.vmap(lambda key, x: x + SEEDED(key, (4, 4)), in_axes=(None, 0))(KEY, jnp.zeros(3))
    assert np.array_equal(alone[1], expected)
    named = init.he_normal(name="x")  # a name alone leaves the layers' keys apart
    several = jax.vmap(lambda key: named(key, (4, 4)))(jax.random.split(KEY, 3))
    assert len(np.unique(np.asarray(several).reshape(3, -1)[:, 0])) == 3

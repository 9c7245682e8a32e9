"""`initialize` of trees: names, rules, seeds and dtypes."""

import jax
import numpy as np
import pytest

from initlib import Key, PlanError, glorot_uniform, he_normal, keep, parts, values, zeros

pytest.importorskip("flax")
import flax
import jax.numpy as jnp
from flax import linen, nnx
from flax_models import IMAGE, Image, abstract, same, shape

import initlib.adapters.jax as init


def test_linen_variables_are_filled_by_name():
    shapes = jax.eval_shape(Image().init, jax.random.key(0), IMAGE)
    plan = init.plan(shapes, he_normal)
    rows = {row["name"]: (row["kind"], row["axes"], row["initializer"]) for row in plan.to_dicts()}
    attention = "MultiHeadDotProductAttention_0"
    assert rows["Conv_0.kernel"] == ("kernel", "HWIO", "he_normal")
    assert rows["table.embedding"] == ("table", "IO", "normal(std=0.02)")
    assert rows[f"{attention}.query.kernel"] == ("kernel", "IOO", "he_normal")
    assert rows[f"{attention}.out.kernel"] == ("kernel", "IIO", "he_normal")
    assert rows[f"{attention}.query.bias"] == ("bias", None, "zeros")
    assert rows["LayerNorm_0.scale"] == ("scale", None, "ones")
    assert rows["batch_stats.BatchNorm_0.mean"] == ("buffer", None, "zeros")
    assert rows["batch_stats.BatchNorm_0.var"] == ("buffer", None, "ones")
    variables = init.initialize(shapes, he_normal, seed=3)
    made = Image().init(jax.random.key(0), IMAGE)
    assert jax.tree.structure(variables) == jax.tree.structure(made)
    assert jax.tree.all(jax.tree.map(lambda a, b: a.shape == b.shape and a.dtype == b.dtype, variables, made))
    kernel = variables["params"]["MultiHeadDotProductAttention_0"]["query"]["kernel"]
    assert np.array_equal(kernel, he_normal((8, 2, 4), axes="IOO", seed=3, name=f"{attention}.query.kernel"))
    for name, array in plan.draw(3).items():
        node = variables if name.startswith("batch_stats") else variables["params"]
        for key in name.split("."):
            node = node[key]
        assert np.array_equal(node, array)
    assert np.isfinite(Image().apply(variables, IMAGE)).all()
    assert same(init.initialize(made, he_normal, seed=3), variables)  # arrays in place of shapes


def test_unknown_axes_are_an_error():
    shapes = {"mix": {"kernel": shape(4, 8, 16), "up": shape(4, 8)}}
    with pytest.raises(PlanError, match=r"mix\.kernel: he_normal needs to know which of the 3 axes are inputs"):
        init.initialize(shapes, he_normal, 0, axes={"*.up": "IO"})
    made = init.initialize(shapes, he_normal, 0, axes={"*.up": "IO", "*.kernel": "BIO"})
    assert np.array_equal(made["mix"]["kernel"], he_normal((4, 8, 16), axes="BIO", seed=0, name="mix.kernel"))


def test_vectors_have_the_fills_of_their_kinds():
    arrays = {"a": {"bias": jnp.full(3, 0.5), "scale": jnp.zeros(3), "odd": jnp.arange(3.0), "one": jnp.float32(2.5)}}
    with pytest.raises(PlanError, match=r'a\.odd: no rule matches, .* Add the rule {"\*\.odd": keep}'):
        init.plan(arrays, he_normal)
    made = init.initialize(arrays, {"*.odd": zeros}, 0)
    assert {name: np.unique(vector).tolist() for name, vector in made["a"].items()} == {
        "bias": [0.5],
        "scale": [0.0],
        "odd": [0.0],
        "one": [2.5],
    }
    made = init.initialize({"bias": shape(3), "scale": shape(3)}, seed=0)
    assert made["bias"].tolist() == [0, 0, 0]
    assert made["scale"].tolist() == [1, 1, 1]


def test_rename_applies_before_rules():
    shapes = {"Dense_0": {"kernel": shape(3, 4)}, "Dense_1": {"kernel": shape(4, 3)}}
    rename = {"Dense_0.*": "up.*", "Dense_1.*": "down.*"}
    made = init.initialize(shapes, {"down.kernel": zeros}, 1, default=he_normal, rename=rename)
    assert np.array_equal(made["Dense_0"]["kernel"], he_normal((3, 4), seed=1, name="up.kernel"))
    assert not made["Dense_1"]["kernel"].any()
    with pytest.raises(PlanError, match=r"rule 'Dense_0\.kernel' matches nothing"):
        init.plan(shapes, {"Dense_0.kernel": zeros}, default=he_normal, rename=rename)


def test_parts_keep_and_values_are_fills():
    whole = jnp.arange(24.0).reshape(4, 6)
    table = np.arange(6.0).reshape(2, 3)
    rules = {
        "qkv": parts({"q": (1, glorot_uniform), "k": (1, keep), "v": (1, zeros)}, axis=1),
        "stack": parts("layer.{i}", he_normal),
        "table": values(table),
    }
    tree = {"qkv": whole, "stack": shape(3, 4, 5), "table": shape(2, 3, dtype="bfloat16")}
    for made in (
        init.initialize(tree, rules, 0, axes={"qkv": "IO", "stack": "BIO"}),
        jax.jit(
            lambda tree, key: init.initialize(tree, rules, key, axes={"qkv": "IO", "stack": "BIO"}), static_argnums=()
        )({"qkv": whole, "stack": jnp.zeros((3, 4, 5)), "table": jnp.zeros((2, 3), "bfloat16")}, jax.random.key(0)),
    ):
        assert np.array_equal(made["qkv"][:, :2], glorot_uniform((4, 2), seed=0, name="q"))
        assert np.array_equal(made["qkv"][:, 2:4], whole[:, 2:4])
        assert not made["qkv"][:, 4:].any()
        assert np.array_equal(made["stack"][2], he_normal((4, 5), seed=0, name="layer.2"))
        assert np.array_equal(made["table"].astype("float32"), table)
    with pytest.raises(PlanError, match="qkv: a shape without an array has no values to keep"):
        init.initialize({**tree, "qkv": shape(4, 6)}, rules, 0, axes={"qkv": "IO", "stack": "BIO"})


def test_nothing_is_drawn_after_an_error(monkeypatch):
    monkeypatch.setattr("initlib.adapters.jax.models.initialize.filled", None)
    for tree, options, error, words in [
        ({"kernel": shape(2, 3)}, {"rules": {"kernl": zeros}}, PlanError, "nearest names: kernel"),
        (
            {"kernel": shape(2, 3)},
            {"rules": zeros, "shardings": 3},
            TypeError,
            "shardings must be made of jax shardings",
        ),
        (shape(2, 3), {"rules": zeros}, TypeError, "shapes must be a pytree whose leaves have names"),
        (
            {"d": {"kernel": (3, 4)}},
            {"rules": zeros},
            TypeError,
            r"got \(3, 4\) for d.kernel. Pass jax.ShapeDtypeStruct\(\(3, 4\), 'float32'\)",
        ),
        ({"kernel": shape(2, 3)}, {"rules": zeros, "seed": "0"}, TypeError, "seed must be an int, a Key"),
        ({"kernel": shape(2, 3)}, {"rules": zeros, "stack": 3}, TypeError, "stack must be a mapping"),
    ]:
        with pytest.raises(error, match=words):
            init.initialize(tree, **{"seed": 0, **options})


def test_seeds_of_every_kind_are_accepted():
    tree = {"kernel": shape(3, 4)}
    expected = he_normal((3, 4), seed=7, name="kernel")
    for seed in (7, Key(7), jax.random.key(7), jax.random.PRNGKey(7), np.int64(7)):
        assert np.array_equal(init.initialize(tree, he_normal, seed)["kernel"], expected)
    generator = np.random.default_rng(3)
    first, second = (init.initialize(tree, he_normal, generator)["kernel"] for _ in range(2))
    assert not np.array_equal(first, second)
    assert not np.array_equal(*(init.initialize(tree, he_normal)["kernel"] for _ in range(2)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "complex64"])
def test_dtypes_of_arrays_are_kept(dtype):
    made = init.initialize({"kernel": shape(3, 4, dtype=dtype)}, he_normal, 0)["kernel"]
    assert made.dtype == dtype
    assert np.array_equal(made, he_normal((3, 4), dtype, seed=0, name="kernel"))


def test_weights_can_be_saved_and_loaded(tmp_path):
    shapes = jax.eval_shape(Image().init, jax.random.key(0), IMAGE)
    variables = init.initialize(shapes, he_normal, 0)
    blank = jax.tree.map(jnp.zeros_like, variables)
    assert same(flax.serialization.from_bytes(blank, flax.serialization.to_bytes(variables)), variables)
    checkpoints = pytest.importorskip("orbax.checkpoint")
    with checkpoints.StandardCheckpointer() as saver:
        saver.save(tmp_path / "linen", variables)
        state = nnx.state(init.initialize(abstract(), he_normal, 0))
        saver.save(tmp_path / "nnx", state)
        saver.wait_until_finished()
        assert same(saver.restore(tmp_path / "linen", blank), variables)
        assert same(saver.restore(tmp_path / "nnx", jax.tree.map(jnp.zeros_like, state)), state)


def test_a_module_of_linen_in_place_of_its_variables_is_an_error_with_the_fix():
    with pytest.raises(TypeError, match=r"got one Dense\. For a linen module, pass jax\.eval_shape"):
        init.initialize(linen.Dense(3), he_normal, seed=0)

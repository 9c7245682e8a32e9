import dataclasses
import inspect
import logging
import re

import jax
import numpy as np
import pytest

import initlib
from initlib import Key, PlanError, glorot_uniform, he_normal, keep, normal, orthogonal, parts, values, zeros

flax = pytest.importorskip("flax")
import jax.numpy as jnp
from flax import linen, nnx

import initlib.adapters.jax as init
from initlib.adapters.jax.models.tensors import leaves

IMAGE = jnp.ones((2, 8, 8, 3))


def shape(*sizes, dtype="float32"):
    return jax.ShapeDtypeStruct(sizes, dtype)


def same(one, other):
    """Return whether two trees have one structure and the same bits."""
    return jax.tree.structure(one) == jax.tree.structure(other) and jax.tree.all(
        jax.tree.map(lambda a, b: a.dtype == b.dtype and np.array_equal(a, b), one, other)
    )


class Image(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.relu(linen.Conv(8, (3, 3))(x))
        x = linen.BatchNorm(use_running_average=True)(x)
        x = linen.Embed(16, 8, name="table")(jnp.zeros(x.shape[:2], int)) + x.mean(2)
        x = linen.MultiHeadDotProductAttention(num_heads=2)(linen.LayerNorm()(x))
        return linen.Dense(10)(x.mean(1))


class Block(nnx.Module):
    def __init__(self, width, rngs):
        self.norm = nnx.RMSNorm(width, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, width, rngs=rngs, decode=False)
        self.split = nnx.LinearGeneral(width, (2, 3), rngs=rngs)


class Model(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(16, 8, rngs=rngs)
        self.blocks = nnx.List([Block(8, rngs) for _ in range(2)])
        self.conv = nnx.Conv(8, 16, (3, 3), feature_group_count=4, rngs=rngs)
        self.bn = nnx.BatchNorm(16, rngs=rngs)
        self.head = self.embed


def abstract():
    return nnx.eval_shape(lambda: Model(nnx.Rngs(0)))


# Rows of a plan


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


def test_nnx_modules_are_filled_in_place():
    plan = init.plan(abstract(), he_normal)
    rows = {row["name"]: (row["kind"], row["axes"], row["initializer"]) for row in plan.to_dicts()}
    assert rows["blocks.1.attention.out.kernel"] == ("kernel", "IIO", "he_normal")
    assert rows["blocks.0.split.kernel"] == ("kernel", "IOO", "he_normal")
    assert rows["blocks.0.norm.scale"] == ("scale", None, "ones")
    assert rows["conv.kernel"] == ("kernel", "HWI(4 O)", "he_normal")
    assert rows["bn.var"] == ("buffer", None, "ones")
    assert plan["embed.embedding"].parameter.tied == ("head.embedding",)
    assert plan["conv.kernel"].parameter.owner == "Conv"
    model = init.initialize(abstract(), he_normal, seed=0)
    assert isinstance(model, Model)
    assert model.head.embedding is model.embed.embedding
    kernel = he_normal((3, 3, 2, 16), axes="HWI(4 O)", seed=0, name="conv.kernel")
    assert np.array_equal(model.conv.kernel[...], kernel)
    assert model.conv(jnp.ones((1, 8, 8, 8))).shape == (1, 8, 8, 16)
    assert same(nnx.state(init.initialize(Model(nnx.Rngs(7)), he_normal, seed=0)), nnx.state(model))
    state = init.initialize(
        nnx.state(abstract()), he_normal, 0, axes={"*.split.kernel": "IOO", "conv.kernel": "HWI(4 O)"}
    )
    assert same(state, nnx.state(model))


@pytest.mark.parametrize(
    ("make", "axes", "fans"),
    [
        (lambda rngs: nnx.Linear(3, 4, rngs=rngs), "IO", (3, 4)),
        (lambda rngs: nnx.LinearGeneral((2, 3), (4, 5), axis=(1, 2), rngs=rngs), "IIOO", (6, 20)),
        (lambda rngs: nnx.LinearGeneral(4, 5, batch_axis={0: 8}, rngs=rngs), "BIO", (4, 5)),
        (lambda rngs: nnx.Einsum("bd,dhk->bhk", (6, 2, 4), rngs=rngs), "IOO", (6, 8)),
        (lambda rngs: nnx.Conv(4, 8, 3, rngs=rngs), "WIO", (12, 24)),
        (lambda rngs: nnx.Conv(8, 8, (3, 3), feature_group_count=8, rngs=rngs), "HWI(8 O)", (9, 9)),
        (lambda rngs: nnx.ConvTranspose(4, 8, (3, 3), rngs=rngs), "HWIO", (36, 72)),
        (lambda rngs: nnx.ConvTranspose(4, 8, (3, 3), transpose_kernel=True, rngs=rngs), "HWOI", (36, 72)),
    ],
)
def test_fans_of_nnx_layers_are_known(make, axes, fans):
    plan = init.plan(nnx.eval_shape(lambda: make(nnx.Rngs(0))), he_normal)
    parameter = plan["kernel"].parameter
    assert parameter.axes == axes
    assert initlib.fans(parameter.shape, axes) == fans


def rnn(rngs):
    return nnx.RNN(nnx.SimpleCell(3, 4, rngs=rngs), rngs=rngs)


MODULES = {
    "BatchNorm": lambda rngs: nnx.BatchNorm(4, rngs=rngs),
    "Bidirectional": lambda rngs: nnx.Bidirectional(rnn(rngs), rnn(rngs), rngs=rngs),
    "Conv": lambda rngs: nnx.Conv(3, 4, (3, 3), rngs=rngs),
    "ConvTranspose": lambda rngs: nnx.ConvTranspose(3, 4, (3, 3), rngs=rngs),
    "Einsum": lambda rngs: nnx.Einsum("ab,bc->ac", (3, 4), (4,), rngs=rngs),
    "Embed": lambda rngs: nnx.Embed(5, 4, rngs=rngs),
    "GRUCell": lambda rngs: nnx.GRUCell(3, 4, rngs=rngs),
    "GroupNorm": lambda rngs: nnx.GroupNorm(4, 2, rngs=rngs),
    "InstanceNorm": lambda rngs: nnx.InstanceNorm(4, rngs=rngs),
    "LSTMCell": lambda rngs: nnx.LSTMCell(3, 4, rngs=rngs),
    "LayerNorm": lambda rngs: nnx.LayerNorm(4, rngs=rngs),
    "Linear": lambda rngs: nnx.Linear(3, 4, rngs=rngs),
    "LinearGeneral": lambda rngs: nnx.LinearGeneral(3, (2, 4), rngs=rngs),
    "LoRA": lambda rngs: nnx.LoRA(3, 2, 4, rngs=rngs),
    "LoRALinear": lambda rngs: nnx.LoRALinear(3, 4, lora_rank=2, rngs=rngs),
    "MultiHeadAttention": lambda rngs: nnx.MultiHeadAttention(2, 8, normalize_qk=True, rngs=rngs, decode=False),
    "OptimizedLSTMCell": lambda rngs: nnx.OptimizedLSTMCell(3, 4, rngs=rngs),
    "PReLU": lambda rngs: nnx.PReLU(),
    "RMSNorm": lambda rngs: nnx.RMSNorm(4, rngs=rngs),
    "RNN": rnn,
    "SimpleCell": lambda rngs: nnx.SimpleCell(3, 4, rngs=rngs),
    "SpectralNorm": lambda rngs: nnx.SpectralNorm(nnx.Linear(3, 4, rngs=rngs), rngs=rngs),
    "WeightNorm": lambda rngs: nnx.WeightNorm(nnx.Linear(3, 4, rngs=rngs), rngs=rngs),
}
HOLDERS = {"Dict", "Dropout", "List", "Module", "RNNCellBase", "Sequential"}  # which have no parameters themselves


def test_every_module_of_nnx_is_known():
    classes = {name for name, cls in vars(nnx).items() if inspect.isclass(cls) and issubclass(cls, nnx.Module)}
    assert classes <= set(MODULES) | HOLDERS, "new modules of nnx"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_of_nnx_has_its_fills(name):
    """Kernels and tables have known axes and are drawn; other arrays keep the values of the module."""
    drawn = {"kernel": he_normal, "recurrent": orthogonal(), "table": normal(std=0.02)}
    model = MODULES[name](nnx.Rngs(3))
    plan = init.plan(model, default=he_normal)
    before = {leaf.names[0]: leaf.value for leaf in leaves(model)}
    assert init.initialize(model, seed=0, default=he_normal) is model
    after = {leaf.names[0]: leaf.value for leaf in leaves(model)}
    assert before.keys() == after.keys()
    for path, value in after.items():
        *around, own = path.split(".")
        if own in ("kernel", "embedding"):
            parameter = plan[path].parameter
            is_recurrent = around[-1:] != [] and (around[-1] == "dense_h" or bool(re.fullmatch("h[a-z]", around[-1])))
            assert (parameter.kind == "recurrent") == is_recurrent
            assert plan[path].filling == drawn[parameter.kind]
            assert parameter.axes is not None
        is_drawn = own in ("kernel", "embedding", "lora_a") or path.startswith("scales.")
        assert bool(jnp.array_equal(value, before[path])) != is_drawn


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


def test_recurrent_cells_have_a_matrix_for_each_gate():
    cell = linen.LSTMCell(4)
    shapes = jax.eval_shape(cell.init, jax.random.key(0), (jnp.ones((1, 4)),) * 2, jnp.ones((1, 3)))
    plan = init.plan(shapes, he_normal)
    assert plan["hi.kernel"].filling == orthogonal()
    assert plan["ii.kernel"].filling == he_normal
    for make, gates in ((nnx.GRUCell, "(3 O)"), (nnx.OptimizedLSTMCell, "(4 O)"), (nnx.SimpleCell, "O")):
        shapes = nnx.eval_shape(lambda make=make: make(3, 4, rngs=nnx.Rngs(0)))
        plan = init.plan(shapes, he_normal)
        assert (plan["dense_i.kernel"].parameter.kind, plan["dense_h.kernel"].parameter.kind) == ("kernel", "recurrent")
        assert plan["dense_h.kernel"].parameter.axes == f"I{gates}"
        with pytest.raises(PlanError, match=r"dense_i\.kernel: he_normal needs to know which"):
            init.plan(nnx.state(shapes), he_normal)


def test_unknown_axes_are_an_error():
    shapes = {"mix": {"kernel": shape(4, 8, 16), "up": shape(4, 8)}}
    with pytest.raises(PlanError, match=r"mix\.kernel: he_normal needs to know which of the 3 axes are inputs"):
        init.initialize(shapes, he_normal, 0, axes={"*.up": "IO"})
    made = init.initialize(shapes, he_normal, 0, axes={"*.up": "IO", "*.kernel": "BIO"})
    assert np.array_equal(made["mix"]["kernel"], he_normal((4, 8, 16), axes="BIO", seed=0, name="mix.kernel"))


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


def test_low_rank_matrices_are_filled():
    made = nnx.eval_shape(lambda: nnx.LoRA(3, 2, 4, rngs=nnx.Rngs(0)))
    for tree in (made, nnx.state(made), nnx.LoRA(3, 2, 4, rngs=nnx.Rngs(0))):
        plan = init.plan(tree, normal())
        assert plan["lora_a"].filling == initlib.he_uniform
        assert plan["lora_b"].filling == zeros


# Names, rules, parts


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


# Seeds, dtypes, tracing


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


def test_initialize_works_under_jit():
    shapes = jax.eval_shape(Image().init, jax.random.key(0), IMAGE)
    rules = {"LayerNorm_0.scale": normal(std=0.1), "*.value.kernel": glorot_uniform}
    expected = init.initialize(shapes, rules, 5, default=he_normal)
    made = jax.jit(lambda key: init.initialize(shapes, rules, key, default=he_normal))(jax.random.key(5))
    assert same(made, expected)
    assert same(jax.jit(lambda: init.initialize(shapes, rules, 5, default=he_normal))(), expected)
    assert same(jax.jit(lambda tree: init.initialize(tree, rules, 5, default=he_normal))(expected), expected)
    shaped = jax.eval_shape(lambda key: init.initialize(shapes, rules, key, default=he_normal), jax.random.key(5))
    assert jax.tree.all(jax.tree.map(lambda a, b: a.shape == b.shape and a.dtype == b.dtype, shaped, shapes))
    batch = jax.vmap(lambda key: init.initialize(shapes, rules, key, default=he_normal))(
        jax.random.split(jax.random.key(5), 2)
    )
    assert batch["params"]["Dense_0"]["kernel"].shape == (2, 8, 10)
    model = nnx.jit(lambda: init.initialize(abstract(), he_normal, 0))()
    assert same(nnx.state(model), nnx.state(init.initialize(abstract(), he_normal, 0)))


def test_matrices_under_jit_are_equal_to_a_millionth():
    tree = {"kernel": shape(32, 16)}
    made = jax.jit(lambda key: init.initialize(tree, orthogonal(), key))(jax.random.key(0))["kernel"]
    assert np.allclose(made, orthogonal()((32, 16), seed=0, name="kernel"), atol=1e-6)


def test_donated_weights_do_not_change_later_draws():
    made = init.initialize({"kernel": shape(64, 64)}, he_normal, 0)
    step = jax.jit(lambda tree: jax.tree.map(lambda a: a + 1, tree), donate_argnums=0)
    assert np.array_equal(step(made)["kernel"], he_normal((64, 64), seed=0, name="kernel") + np.float32(1))
    assert np.array_equal(
        init.initialize({"kernel": shape(64, 64)}, he_normal, 0)["kernel"], he_normal((64, 64), seed=0, name="kernel")
    )


def compilations(caplog):
    return [record.message for record in caplog.records if "Compiling" in record.message]


def test_nothing_is_compiled_on_a_cpu(caplog):
    tree = {f"layer_{i}": {"kernel": shape(7 + i, 5), "bias": shape(5)} for i in range(3)}
    init.initialize({"kernel": shape(2, 2)}, he_normal, 0)
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        init.initialize(tree, he_normal, 0)
    assert not compilations(caplog)


def test_other_devices_compile_one_program_for_each_shape(caplog, monkeypatch):
    monkeypatch.setattr("initlib.adapters.jax.drawing.fill.HOST", "elsewhere")
    tree = {f"layer_{i}": {"kernel": shape(13, 5), "other": {"kernel": shape(5, 11)}} for i in range(4)}
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        made = init.initialize(tree, he_normal, 0)
    assert len([each for each in compilations(caplog) if "placed" in each]) == 2
    monkeypatch.undo()
    assert same(made, init.initialize(tree, he_normal, 0))


# Saving and loading


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

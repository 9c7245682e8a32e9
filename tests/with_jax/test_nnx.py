"""Modules of nnx: every module with weights, with its axes and fills."""

import inspect
import re

import jax
import numpy as np
import pytest

import initlib
from initlib import PlanError, he_normal, normal, orthogonal, zeros

pytest.importorskip("flax")
import jax.numpy as jnp
from flax import linen, nnx
from flax_models import MODULES, Model, abstract, same

import initlib.adapters.jax as init
from initlib.adapters.jax.models.tensors import leaves


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


def test_low_rank_matrices_are_filled():
    made = nnx.eval_shape(lambda: nnx.LoRA(3, 2, 4, rngs=nnx.Rngs(0)))
    for tree in (made, nnx.state(made), nnx.LoRA(3, 2, 4, rngs=nnx.Rngs(0))):
        plan = init.plan(tree, normal())
        assert plan["lora_a"].filling == initlib.he_uniform
        assert plan["lora_b"].filling == zeros

"""`initialize` and compilation: under `jit` and `vmap`, with donated weights, and on other devices."""

import logging

import jax
import numpy as np
import pytest

from initlib import glorot_uniform, he_normal, normal, orthogonal

pytest.importorskip("flax")
from flax import nnx
from flax_models import IMAGE, Image, abstract, same, shape

import initlib.adapters.jax as init


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

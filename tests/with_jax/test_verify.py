"""Comparison of a pytree of JAX with the plan and the seed that initialized it."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import initlib.adapters.jax as adapter
from initlib import he_normal, keep, normal

CHECKS = Path(__file__).with_name("verify_checks.py")
SHAPES = {
    "dense": {"kernel": jax.ShapeDtypeStruct((64, 16), "float32"), "bias": jax.ShapeDtypeStruct((16,), "float32")}
}


@pytest.mark.parametrize("check", ["nothing", "one_weight", "layers", "swapped", "others"])
def test_shards_on_eight_devices_are_compared(check):
    done = subprocess.run([sys.executable, CHECKS, check], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_arrays_of_numpy_are_compared():
    plan = adapter.plan(SHAPES, he_normal)
    tree = {"dense": {"kernel": plan.draw_one("dense.kernel", 0), "bias": np.zeros(16, "float32")}}
    assert not adapter.verify(tree, plan, 0, whole=True)
    tree["dense"]["kernel"][9, 3] = 0
    tree["dense"]["bias"] = np.zeros(16, "float16")
    assert [str(difference) for difference in adapter.verify(tree, plan, 0, whole=True)] == [
        "'dense.bias' has dtype float16, but the plan has float32",
        "'dense.kernel' has other values from index (9, 3) on",
    ]


def test_kept_arrays_are_compared_by_shape_and_dtype():
    tree = {"params": adapter.initialize(SHAPES, he_normal, seed=0), "count": np.arange(3)}
    plan = adapter.plan(tree, {"*.bias": keep}, default=he_normal)
    tree["params"]["dense"]["bias"] = np.ones(16, "float32")
    tree["count"] = np.ones(3, int)
    assert not adapter.verify(tree, plan, 0, whole=True)
    tree["count"] = np.ones(4, int)
    (difference,) = adapter.verify(tree, plan, 0)
    assert difference.what == "has shape (4,), but the plan has (3,)"


def test_wrong_arguments_are_errors():
    plan = adapter.plan(SHAPES, he_normal)
    tree = adapter.initialize(SHAPES, he_normal, seed=0)
    with pytest.raises(TypeError, match=r"plan must be an initlib\.Plan"):
        adapter.verify(tree, he_normal, 0)
    with pytest.raises(TypeError, match="seed must be the seed"):
        adapter.verify(tree, plan, None)
    with pytest.raises(ValueError, match="stack 'layers' matches nothing"):
        adapter.verify(tree, plan, 0, stack={"layers": "layers.{i}"})
    with pytest.raises(ValueError, match=r"only must match a parameter, got 'dens\.\*'"):
        adapter.verify(tree, plan, 0, only="dens.*")


def test_weight_norm_is_compared_by_the_computed_weight():
    nnx = pytest.importorskip("flax.nnx")
    rngs = nnx.Rngs(0)
    model = nnx.WeightNorm(nnx.Linear(8, 24, rngs=rngs), rngs=rngs)
    model = adapter.initialize(model, normal(std=0.02), seed=0)
    plan = adapter.plan(model, normal(std=0.02))
    assert not adapter.verify(model, plan, 0, whole=True)
    kernel = model.layer_instance.kernel
    kernel.set_value(3 * kernel.get_value())
    assert not adapter.verify(model, plan, 0, whole=True)
    model.scales["kernel",] = model.scales["kernel",].at[5].multiply(1.01)
    (difference,) = adapter.verify(model, plan, 0, whole=True)
    assert difference.index == (0, 5)

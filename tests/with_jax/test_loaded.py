"""Old weights in pytrees of JAX."""

import jax
import ml_dtypes
import numpy as np
import pytest
from checkpoints import save

import initlib.adapters.jax as init
from initlib import keep, loaded, normal, parts

SHAPES = {
    "dense": {"kernel": jax.ShapeDtypeStruct((8, 6), "bfloat16"), "bias": jax.ShapeDtypeStruct((6,), "float32")},
    "layers": {"kernel": jax.ShapeDtypeStruct((4, 8, 6), "float32")},
}
RNG = np.random.default_rng(0)
OLD = {
    "dense.kernel": RNG.integers(0, 2**16, (8, 6), dtype=np.uint16).view(ml_dtypes.bfloat16),  # NaN among them
    "dense.bias": RNG.normal(size=6),
    **{f"layers.{i}.kernel": RNG.normal(size=(8, 6)).astype("float32") for i in range(4)},
}


@pytest.mark.parametrize("of", ["file", "arrays of NumPy", "arrays of JAX"])
def test_a_tree_of_old_weights(tmp_path, of):
    source = save(tmp_path / "old", OLD) if of == "file" else OLD
    if of == "arrays of JAX":
        source = {name: jax.numpy.asarray(array) for name, array in OLD.items() if array.dtype != np.float64}
        source["dense.bias"] = OLD["dense.bias"]
    weights = init.initialize(SHAPES, {"*": loaded(source)}, seed=0, stack={"layers": "layers.{i}"})
    assert np.asarray(weights["dense"]["kernel"]).tobytes() == OLD["dense.kernel"].tobytes()
    assert np.array_equal(weights["dense"]["bias"], OLD["dense.bias"].astype("float32"))
    assert np.array_equal(weights["layers"]["kernel"], np.stack([OLD[f"layers.{i}.kernel"] for i in range(4)]))


def test_parts_may_be_kept():
    tree = {"table": {"embedding": np.zeros((8, 3), "float32")}}
    old = {"rows": np.ones((2, 3), "float32")}
    rows = parts({"kept": (4, keep), "old": (2, loaded(old, "rows")), "new": (2, loaded(old, "rows") + normal())})
    table = init.initialize(tree, {"table.embedding": rows}, seed=0)["table"]["embedding"]
    assert np.array_equal(table[:4], np.zeros((4, 3)))
    assert np.array_equal(table[4:6], old["rows"])
    assert np.array_equal(table[6:], old["rows"] + normal()((2, 3), seed=0, name="table.new"))


def test_a_traced_function_cannot_read_a_source():
    rules = {"*": loaded(OLD)}
    for stack in ({"layers": "layers.{i}"}, None):
        shapes = SHAPES if stack else {"dense": SHAPES["dense"]}
        with pytest.raises(
            ValueError,
            match=r"must be filled outside of jax.jit, because .*, got loaded\(<6 arrays>",
        ):
            jax.jit(lambda key, shapes=shapes, stack=stack: init.initialize(shapes, rules, key, stack=stack))(
                jax.random.key(0)
            )


def test_the_report_and_the_check_of_a_tree():
    weights = init.initialize(SHAPES, {"*": loaded(OLD) + normal(std=0.1)}, seed=0, stack={"layers": "layers.{i}"})
    made = init.plan(SHAPES, {"*": loaded(OLD) + normal(std=0.1)}, stack={"layers": "layers.{i}"})
    assert not init.verify(weights, made, 0, stack={"layers": "layers.{i}"})
    assert init.verify(weights, made, 1, stack={"layers": "layers.{i}"})

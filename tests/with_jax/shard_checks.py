"""Checks of draws on 8 devices, which test_shards.py runs in a separate process."""

import itertools
import os
import re
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import initlib
import initlib.adapters.jax as adapter
from initlib.adapters.jax.drawing.draw import compiled, traced

KEY = jax.random.key(5)
WORDS = np.array([0, 5], np.uint32)
MESHES = {
    kind: jax.make_mesh((4, 2), ("a", "b"), axis_types=(kind,) * 2) for kind in (AxisType.Auto, AxisType.Explicit)
}
SLACK = 512  # bytes, of the partition's number and the like


def every_spec(ndim):
    """Yield every assignment of the two mesh axes, or fewer, to the axes of a weight."""
    choices = [None, "a", "b", ("a", "b"), ("b", "a")]
    for spec in itertools.product(choices, repeat=ndim):
        names = [name for entry in spec if entry for name in entry]
        if len(set(names)) == len(names):
            yield PartitionSpec(*spec)


def check(shape, axes, spec, kind):
    sharding = NamedSharding(MESHES[kind], spec)
    recipe = (initlib.he_normal, shape, "float32", axes)
    program = compiled(sharding).lower(traced, recipe, sharding, WORDS).compile()
    weight = program(WORDS)
    assert weight.sharding == sharding
    assert np.array_equal(weight, initlib.he_normal(shape, axes=axes, seed=5))
    assert not re.search(r"all-|collective|reduce-scatter", program.as_text()), spec
    memory, shard = program.memory_analysis(), 4 * np.prod(sharding.shard_shape(shape))
    assert memory.output_size_in_bytes == shard
    assert memory.temp_size_in_bytes + memory.argument_size_in_bytes < SLACK


def matrix():
    for spec in every_spec(2):
        check((64, 32), "OI", spec, AxisType.Auto)


def kernel():
    for spec in every_spec(4):
        check((8, 16, 8, 24), "OIHW", spec, AxisType.Auto)


def explicit():
    for spec in (("a", "b"), (("b", "a"), None), (None, "b")):
        check((48, 16), "(6 O)I", PartitionSpec(*spec), AxisType.Explicit)


def calls():
    """Check each way to request a sharding, with and without a mesh's context and jit."""
    init, whole = adapter.he_normal(), initlib.he_normal((64, 32), seed=5)
    spec = PartitionSpec("a", "b")
    for mesh in MESHES.values():
        sharding = NamedSharding(mesh, spec)
        weights = [init(KEY, (64, 32), out_sharding=sharding)]
        weights.append(init(jax.device_put(KEY, jax.devices()[3]), (64, 32), out_sharding=sharding))
        weights.append(jax.jit(lambda key: init(key, (64, 32)), out_shardings=sharding)(KEY))
        with jax.set_mesh(mesh):
            weights.append(init(KEY, (64, 32), out_sharding=spec))
            weights.append(init(KEY, (64, 32), out_sharding=sharding))
            weights.append(jax.jit(lambda key: init(key, (64, 32), out_sharding=spec))(KEY))
            replicated = init(KEY, (64, 32))
            assert replicated.sharding.is_fully_replicated
            assert replicated.devices() == set(jax.devices())
            bfloat = init(KEY, (64, 32), "bfloat16", out_sharding=spec)
            composed = adapter.orthogonal()(KEY, (64, 32), out_sharding=spec)
            table = adapter.initializer(initlib.sinusoidal())(KEY, (64, 32), out_sharding=spec)
            rows = init(KEY, (64, 32), out_sharding=PartitionSpec("a"))
            assert rows.sharding.spec == PartitionSpec("a", None)  # as JAX's own functions spell it
        for weight in weights:
            assert weight.sharding.is_equivalent_to(sharding, 2)
            assert np.array_equal(weight, whole)
        assert np.array_equal(replicated, whole)
        assert np.array_equal(bfloat, initlib.he_normal((64, 32), "bfloat16", seed=5))
        assert table.sharding.is_equivalent_to(sharding, 2)
        assert np.array_equal(table, initlib.sinusoidal()((64, 32)))
        assert np.allclose(composed, initlib.orthogonal()((64, 32), seed=5), atol=1e-6)
    placed = init(jax.device_put(KEY, jax.devices()[3]), (64, 32))
    assert placed.devices() == {jax.devices()[3]}
    assert np.array_equal(placed, whole)


def shard_map():
    """Check that in a shard_map each device draws under its own key."""
    keys = jax.random.split(KEY, 8)
    init = adapter.glorot_uniform()
    drawn = jax.shard_map(
        lambda key: init(key[0], (1, 6, 5)),
        mesh=MESHES[AxisType.Auto],
        in_specs=PartitionSpec(("a", "b")),
        out_specs=PartitionSpec(("a", "b")),
    )(keys)
    assert np.array_equal(drawn, np.concatenate([init(key, (1, 6, 5)) for key in keys]))


def large():
    """Check that a weight of 4 TiB, with positions past 2**32, compiles in the memory of a shard."""
    sharding = NamedSharding(MESHES[AxisType.Auto], PartitionSpec("a", "b"))
    shape = (2**20, 2**20)
    recipe = (initlib.he_normal, shape, "float32", "OI")
    program = compiled(sharding).lower(traced, recipe, sharding, WORDS).compile()
    assert program.memory_analysis().output_size_in_bytes == 2**39
    assert program.memory_analysis().temp_size_in_bytes < SLACK


if __name__ == "__main__":
    globals()[sys.argv[1]]()

"""Comparisons of arrays on 8 devices, which test_verify.py runs in a separate process."""

import os
import sys

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import initlib.adapters.jax as adapter
from initlib import normal, orthogonal, uniform

MESH = jax.make_mesh((4, 2), ("a", "b"))
SPECS = [
    PartitionSpec(),
    PartitionSpec("a"),
    PartitionSpec(None, "b"),
    PartitionSpec("b", "a"),
    PartitionSpec(("a", "b")),
]
SHAPES = {
    "q": {"kernel": jax.ShapeDtypeStruct((64, 32), "float32")},
    "k": {"kernel": jax.ShapeDtypeStruct((64, 32), "float32")},
    "layers": {"kernel": jax.ShapeDtypeStruct((8, 16, 32), "bfloat16")},
    "mixed": {"kernel": jax.ShapeDtypeStruct((32, 32), "float32")},
    "shifted": {"kernel": jax.ShapeDtypeStruct((32, 32), "float32")},
}
RULES = {"mixed.kernel": orthogonal(), "shifted.kernel": uniform(0.5, 1.0), "*": normal(std=0.02)}
STACK = {"layers": "layers.{i}"}
PLAN = adapter.plan(SHAPES, RULES, stack=STACK)


def initialized(sharding):
    return adapter.initialize(SHAPES, RULES, seed=5, stack=STACK, shardings=sharding)


def reports(tree, seed=5, whole=True, **options):
    return [str(difference) for difference in adapter.verify(tree, PLAN, seed, whole=whole, stack=STACK, **options)]


def of_devices(array, change):
    """Return the array with a function applied to the memory of its first device alone."""
    shards = [np.array(shard.data) for shard in array.addressable_shards]
    change(shards[0])
    devices = [shard.device for shard in array.addressable_shards]
    pairs = zip(shards, devices, strict=True)
    return jax.make_array_from_single_device_arrays(
        array.shape, array.sharding, [jax.device_put(shard, device) for shard, device in pairs]
    )


def first_index(array):
    return tuple(at.start or 0 for at in array.addressable_shards[0].index)


def nothing():
    for spec in SPECS:
        tree = initialized(NamedSharding(MESH, spec))
        for whole in (False, True):
            result = adapter.verify(tree, PLAN, jax.random.key(5), whole=whole, stack=STACK)
            assert not result, str(result)
            assert result.summary.startswith("nothing differs: compared 12 tensors")
    jitted = jax.jit(lambda key: adapter.initialize(SHAPES, RULES, seed=key, stack=STACK))(jax.random.key(5))
    assert reports(jitted) == []


def one_weight():
    """Change one weight in the memory of one device, of a shard or of a copy."""
    for spec in SPECS:
        tree = initialized(NamedSharding(MESH, spec))

        def change(shard):
            shard[1, 2] += 1e-3

        tree["q"]["kernel"] = of_devices(tree["q"]["kernel"], change)
        row, column = first_index(tree["q"]["kernel"])
        assert reports(tree) == [f"'q.kernel' has other values from index {(row + 1, column + 2)} on"], spec
        assert reports(tree, only="k.*") == []


def layers():
    for spec in SPECS:
        tree = initialized(NamedSharding(MESH, spec))
        array = np.array(tree["layers"]["kernel"])
        array[3] = array[6]
        tree["layers"]["kernel"] = jax.device_put(array, NamedSharding(MESH, spec))
        assert reports(tree) == ["'layers.3.kernel' has other values from index (0, 0) on: holds layers.6.kernel"], spec


def swapped():
    for spec in SPECS:
        sharding = NamedSharding(MESH, spec)
        tree = initialized(sharding)
        tree["q"], tree["k"] = tree["k"], tree["q"]
        for whole in (False, True):
            assert reports(tree, whole=whole) == [
                "'k.kernel' has other values from index (0, 0) on: holds q.kernel",
                "'q.kernel' has other values from index (0, 0) on: holds k.kernel",
            ]
        tree = initialized(sharding)
        rolled = np.roll(np.array(tree["q"]["kernel"]), 16, axis=0)
        tree["q"]["kernel"] = jax.device_put(rolled, sharding)
        (report,) = reports(tree)
        last = 63 if tree["q"]["kernel"].addressable_shards[0].data.shape[0] > 8 else 55
        assert (
            report == f"'q.kernel' has other values from index (0, 0) on: holds rows 48..{last} of the same weight"
        ), spec


def others():
    tree = initialized(NamedSharding(MESH, PartitionSpec("a")))
    assert [report.split("'")[1] for report in reports(tree, seed=6)] == [
        entry.parameter.name for entry in PLAN.entries
    ]
    tree["more"] = tree.pop("mixed")
    assert reports(tree) == ["'mixed.kernel' is missing", "'more.kernel' is not in the plan"]
    assert reports(SHAPES, only="q.*") == ["'q.kernel' cannot be read: the array has no values in memory"]


if __name__ == "__main__":
    globals()[sys.argv[1]]()

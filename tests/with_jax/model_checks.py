"""Checks of models on 8 devices, which test_shards.py runs in a separate process."""

import itertools
import os
import re
import resource
import sys
import tempfile
from pathlib import Path

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoints import save
from flax import linen, nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import initlib
import initlib.adapters.jax as init
from initlib import glorot_uniform, he_normal, loaded, normal, orthogonal, parts
from initlib.adapters.jax.drawing import fill as filling
from initlib.files import checkpoint_source

KEY = jax.random.key(5)
MESHES = {
    kind: jax.make_mesh((2, 4), ("a", "b"), axis_types=(kind,) * 2) for kind in (AxisType.Auto, AxisType.Explicit)
}
MESH = MESHES[AxisType.Auto]
SLACK = 2**21  # bytes: indices along an axis, keys
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes: what the system counts a peak in

SHAPES = {
    "dense": {"kernel": jax.ShapeDtypeStruct((64, 32), "float32"), "bias": jax.ShapeDtypeStruct((32,), "float32")},
    "conv": {"kernel": jax.ShapeDtypeStruct((8, 8, 16, 24), "bfloat16")},
    "layers": {"mlp": {"kernel": jax.ShapeDtypeStruct((8, 16, 24), "float32")}},
    "second": {"mlp": {"kernel": jax.ShapeDtypeStruct((16, 8, 24), "float32")}},
    "qkv": {"kernel": jax.ShapeDtypeStruct((16, 32), "float32")},
}
RULES = {"qkv.kernel": parts({"q.kernel": 2, "k.kernel": 1, "v.kernel": 1}, glorot_uniform, axis=1, groups=2)}
OPTIONS = {"default": he_normal, "stack": {"layers": "layers.{i}", "second": ("second.{i}", 1)}}


def made(seed=5, shapes=SHAPES, **options):
    return init.initialize(shapes, RULES, seed, **OPTIONS, **options)


def drawn(shape):
    return jax.random.normal(KEY, shape)


def every_spec(ndim):
    """Yield every assignment of the two mesh axes, or fewer, to the axes of a weight."""
    for spec in itertools.product([None, "a", "b", ("a", "b"), ("b", "a")], repeat=ndim):
        names = [name for entry in spec if entry for name in entry]
        if len(set(names)) == len(names):
            yield PartitionSpec(*spec)


def same(one, other):
    return jax.tree.all(jax.tree.map(lambda a, b: a.dtype == b.dtype and np.array_equal(a, b), one, other))


def every_sharding(kind, way, step=1):
    """Yield shardings of all arrays by each spec, or by one in `step` of the specs."""
    specs = {ndim: list(every_spec(ndim)) for ndim in (1, 2, 3, 4)}
    expected = made()
    for number in range(0, max(map(len, specs.values())), step):
        placed = jax.tree.map(
            lambda leaf, number=number: NamedSharding(MESHES[kind], specs[leaf.ndim][number % len(specs[leaf.ndim])]),
            SHAPES,
        )
        weights = way(placed)
        assert same(weights, expected), placed
        assert jax.tree.all(jax.tree.map(lambda a, sharding: a.sharding == sharding, weights, placed))


def shards():
    """Check that every sharding has the bits of one device, and allocates only shards."""
    sizes = []
    memory = filling.memory
    filling.memory = lambda shape, dtype: sizes.append(int(np.prod(shape))) or memory(shape, dtype)

    def way(placed):
        sizes.clear()
        weights = made(shardings=placed)
        distinct = {
            (id(leaf), str(shard.index)): shard.data.size
            for leaf in jax.tree.leaves(weights)
            for shard in leaf.addressable_shards
        }
        assert sorted(sizes) == sorted(distinct.values())  # a box each, and replicas once
        return weights

    every_sharding(AxisType.Auto, way)


def jitted():
    """Check the same under jit: where possible, each device computes only its shard, in the memory of the shard."""

    def way(placed):
        weights = jax.jit(lambda key: made(key), out_shardings=placed)(KEY)
        assert same(weights, jax.jit(lambda key: made(key, shardings=placed))(KEY))
        return weights

    every_sharding(AxisType.Auto, way, step=7)


def explicit():
    expected = made()
    for spec in (("a", "b"), (("b", "a"), None), (None, "b")):
        placed = {
            name: jax.tree.map(
                lambda leaf, spec=spec: NamedSharding(MESHES[AxisType.Explicit], PartitionSpec(*spec[: leaf.ndim])),
                tree,
            )
            for name, tree in SHAPES.items()
        }
        assert same(made(shardings=placed), expected)
        with jax.set_mesh(MESHES[AxisType.Explicit]):
            assert same(jax.jit(lambda key, placed=placed: made(key, shardings=placed))(KEY), expected)


def memory():
    """Check that the program of a stacked model of 8 TiB has no array of full size and no message."""
    shapes = {
        "table": {"embedding": jax.ShapeDtypeStruct((2**20, 2**20), "float32")},
        "layers": {"up": {"kernel": jax.ShapeDtypeStruct((4, 2**19, 2**19), "float32")}},
    }
    specs = {"table": PartitionSpec("a", "b"), "layers": PartitionSpec(None, "b", "a")}
    # Along another axis too, alone: among others XLA makes the shard of it a second time, to transpose it.
    second = {"second": {"up": {"kernel": jax.ShapeDtypeStruct((2**19, 4, 2**19), "float32")}}}
    for tree, spec, size in ((shapes, specs, 2**40), (second, {"second": PartitionSpec("b", None, "a")}, 2**39)):
        placed = {name: NamedSharding(MESH, each) for name, each in spec.items()}
        stack = {name: OPTIONS["stack"][name] for name in tree if name != "table"}

        def whole(key, tree=tree, stack=stack, placed=placed):
            return init.initialize(tree, he_normal, key, stack=stack, shardings=placed)

        program = jax.jit(whole).lower(KEY).compile()
        assert not re.search(r"all-|collective|reduce-scatter", program.as_text())
        assert program.memory_analysis().output_size_in_bytes - size < SLACK
        assert program.memory_analysis().temp_size_in_bytes < SLACK


def peak():
    """Check by the peak memory of this process that only shards are allocated, also for stacked layers."""
    placed = NamedSharding(MESH, PartitionSpec(None, "a", "b"))

    def grown(size):
        shapes = {"layers": {"kernel": jax.ShapeDtypeStruct((4, size, size), "float32")}}
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        made = init.initialize(shapes, he_normal, 5, stack={"layers": "layers.{i}"}, shardings=placed)
        weights = jax.block_until_ready(made["layers"]["kernel"])
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * UNIT / weights.nbytes, weights

    grown(64)
    growth, weights = grown(2**12)
    assert growth < 1.2, growth
    assert {shard.data.shape for shard in weights.addressable_shards} == {(4, 2**11, 2**10)}
    assert np.array_equal(
        weights[2, :8, :8], he_normal((2**12,) * 2, seed=5, name="layers.2.kernel", index=np.s_[:8, :8])
    )


def placement():
    """Check each way to state shardings."""
    expected, sharded = made(), NamedSharding(MESH, PartitionSpec(None, "a"))
    two = {name: SHAPES[name] for name in ("dense", "qkv")}
    part = {name: expected[name] for name in two}

    def check(weights, kernel, bias=None):
        assert same(weights, part)
        assert weights["dense"]["kernel"].sharding.is_equivalent_to(kernel, 2)
        assert len(weights["dense"]["bias"].devices()) == (1 if bias is None else 8)

    def of(**options):
        return init.initialize(two, RULES, 5, default=he_normal, **options)

    spec = PartitionSpec(None, "a")
    check(of(shardings={"dense": {"kernel": sharded, "bias": None}, "qkv": sharded}), sharded)
    check(of(shardings=lambda parameter: sharded if len(parameter.shape) == 2 else None), sharded)
    check(of(shardings=NamedSharding(MESH, PartitionSpec())), NamedSharding(MESH, PartitionSpec()), "all")
    with jax.set_mesh(MESH):
        check(of(shardings={"dense": {"kernel": spec, "bias": PartitionSpec()}, "qkv": spec}), sharded, "all")
        check(of(), NamedSharding(MESH, PartitionSpec()), "all")
        check(
            jax.jit(
                lambda key: init.initialize(
                    two,
                    RULES,
                    key,
                    default=he_normal,
                    shardings=lambda p: spec if len(p.shape) == 2 else PartitionSpec(),
                )
            )(KEY),
            sharded,
            "all",
        )
    # Arrays stay on their devices; shapes may state a sharding.
    lying = jax.tree.map(
        lambda leaf: jax.device_put(drawn(leaf.shape), sharded) if leaf.ndim == 2 else jnp.zeros(leaf.shape), two
    )
    check(init.initialize(lying, RULES, 5, default=he_normal), sharded)
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharded if leaf.ndim == 2 else None), two
    )
    check(init.initialize(abstract, RULES, 5, default=he_normal), sharded)
    third = jax.device_put(drawn((64, 32)), jax.devices()[3])
    weight = init.initialize({"dense": {"kernel": third}}, he_normal, 5)["dense"]["kernel"]
    assert weight.devices() == {jax.devices()[3]}
    # Other devices than the host draw the same weights by a program.
    filling.HOST = "elsewhere"
    check(of(shardings=lambda parameter: sharded if len(parameter.shape) == 2 else None), sharded)
    filling.HOST = "cpu"
    for options, words in [
        ({"dense": sharded}, "qkv.kernel: shardings has no value for this array"),
        (
            {"dense": sharded, "qkv": sharded, "more": sharded},
            "more: shardings has a value for this name, but the tree has no array there",
        ),
        (spec, "Enter jax.set_mesh, or pass a NamedSharding"),
        (NamedSharding(MESH, PartitionSpec(None, ("a", "b"), None)), "must name at most 2 axes for shape (64, 32)"),
    ]:
        with pytest.raises(initlib.PlanError, match=re.escape(words)):
            of(shardings=options)


def composed():
    """Check that a product of matrices is drawn in full, once."""
    sharding = NamedSharding(MESH, PartitionSpec("a", "b"))
    weight = init.initialize({"kernel": jax.ShapeDtypeStruct((64, 32), "float32")}, orthogonal(), 5, shardings=sharding)
    assert weight["kernel"].sharding == sharding
    assert np.array_equal(weight["kernel"], orthogonal()((64, 32), seed=5, name="kernel"))


def verification():
    """Check that `verify` reads the shards of this process, and finds a weight that differs on one device."""
    plan = init.plan(SHAPES, RULES, **OPTIONS)
    for spec in (PartitionSpec("a"), PartitionSpec(("b", "a")), PartitionSpec()):
        placed = NamedSharding(MESH, spec)
        weights = made(shardings=placed)
        assert not init.verify(weights, plan, 5, stack=OPTIONS["stack"])
        assert not init.verify(weights, plan, 5, stack=OPTIONS["stack"], whole=True)
        kernel = weights["qkv"]["kernel"]
        shards = [shard.data for shard in kernel.addressable_shards]
        shards[5] = jax.device_put(shards[5].at[0, 3].add(1), shards[5].device)
        start = kernel.addressable_shards[5].index[0].start or 0
        changed = jax.make_array_from_single_device_arrays(kernel.shape, placed, shards)
        (difference,) = init.verify(
            {**weights, "qkv": {"kernel": changed}}, plan, 5, stack=OPTIONS["stack"], whole=True
        )
        assert (difference.name, difference.index) == ("qkv.kernel", (start, 3))


def flax():
    """Check the shardings of Flax's annotations, and the boxes that hold them."""
    layer = linen.Dense(32, kernel_init=linen.with_partitioning(linen.initializers.lecun_normal(), ("a", "b")))
    shapes = jax.eval_shape(layer.init, KEY, jnp.ones((1, 64)))
    weights = init.initialize(shapes, he_normal, 5, shardings=linen.get_sharding(shapes, MESH))
    kernel = weights["params"]["kernel"]
    assert kernel.names == ("a", "b")
    assert kernel.value.sharding == NamedSharding(MESH, PartitionSpec("a", "b"))
    assert np.array_equal(kernel.value, he_normal((64, 32), seed=5, name="kernel"))
    with jax.set_mesh(MESH):
        make = nnx.with_partitioning(nnx.initializers.lecun_normal(), ("a", "b"))
        model = nnx.eval_shape(lambda: nnx.Linear(64, 32, kernel_init=make, rngs=nnx.Rngs(0)))
        placed = nnx.get_named_sharding(nnx.state(model), MESH)
        state = init.initialize(nnx.state(model), he_normal, 5, shardings=placed)
        assert state["kernel"].get_value().sharding == NamedSharding(MESH, PartitionSpec("a", "b"))
        assert np.array_equal(state["kernel"].get_value(), he_normal((64, 32), seed=5, name="kernel"))
        assert state["kernel"].get_metadata() == nnx.state(model)["kernel"].get_metadata()


def old_weights():
    """Each device reads its shard of old weights, which another framework stored, and replicas are read once."""
    array = np.random.default_rng(0).normal(size=(32, 64)).astype("float32")
    shapes = {"dense": {"kernel": jax.ShapeDtypeStruct((64, 32), "bfloat16")}}
    sizes, read = [], checkpoint_source.read_exactly
    checkpoint_source.GAP = 0
    checkpoint_source.read_exactly = lambda file, memory: (sizes.append(memory.nbytes), read(file, memory))
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder) / "old", {"dense.weight": array})
        rules = {"dense.kernel": loaded(path, "dense.weight", axes="OI") * 0.5 + normal(std=0.1)}
        expected = init.plan(shapes, rules).draw(5)["dense.kernel"]
        noise = normal(std=0.1)((64, 32), axes="IO", seed=5, name="dense.kernel")
        assert np.array_equal(expected, (array.T * np.float32(0.5) + noise).astype("bfloat16"))
        for kind, spec in itertools.product(MESHES, every_spec(2)):
            sizes.clear()
            sharding = NamedSharding(MESHES[kind], spec)
            weight = init.initialize(shapes, rules, 5, shardings=sharding)["dense"]["kernel"]
            assert weight.sharding == sharding
            assert np.array_equal(weight, expected)
            assert sum(sizes) == array.nbytes
        with pytest.raises(
            ValueError,
            match=r"dense.kernel must be filled outside of jax.jit, because .*, got loaded\(.*old",
        ):
            jax.jit(lambda key: init.initialize(shapes, rules, key))(KEY)


if __name__ == "__main__":
    globals()[sys.argv[1]]()

import inspect
import math
import pickle
import warnings

import jax
import jax.nn.initializers as jax_init
import jax.numpy as jnp
import numpy as np
import pytest

import initlib
import initlib.adapters.jax as adapter

KEY = jax.random.key(5)
PUBLIC = sorted(name for name in dir(jax_init) if not name.startswith("_"))
FACTORIES = [name for name in PUBLIC if name not in ("Initializer", "constant", "ones", "zeros")]
ALIASES = {"kaiming_normal": "he_normal", "kaiming_uniform": "he_uniform"} | {
    f"xavier_{kind}": f"glorot_{kind}" for kind in ("normal", "uniform")
}
DISTINCT = [name for name in FACTORIES if name not in ALIASES]
PRESETS = [name for name in DISTINCT if name.startswith(("he", "glorot", "lecun"))]
REAL = ["float16", "bfloat16", "float32", "float8_e4m3fn"]
COMPLEX = [name for name in DISTINCT if name not in ("uniform", "truncated_normal")]


def make(module, name, **arguments):
    if name == "variance_scaling":
        return module.variance_scaling(1.5, "fan_geo_avg", "normal", **arguments)
    return getattr(module, name)(**arguments)


def test_every_public_name_is_there_with_its_signature():
    for name in PUBLIC:
        assert name in adapter.__all__
        if name in FACTORIES:
            expected = inspect.signature(getattr(jax_init, name)).parameters
            positional = [
                p for p in inspect.signature(getattr(adapter, name)).parameters.values() if p.kind != p.KEYWORD_ONLY
            ]
            assert [(p.name, p.default) for p in positional] == [(p.name, p.default) for p in expected.values()]
            assert isinstance(make(adapter, name), jax_init.Initializer)
        elif name in ("zeros", "ones"):
            assert inspect.signature(getattr(adapter, name)) == inspect.signature(getattr(jax_init, name))
        else:
            assert getattr(adapter, name) is getattr(jax_init, name)


def test_aliases_are_the_same_functions():
    for alias, name in ALIASES.items():
        assert getattr(adapter, alias) is getattr(adapter, name)


@pytest.mark.parametrize("name", DISTINCT)
def test_draws_have_the_shape_and_dtype_of_the_call(name):
    shape = (3, 2, 2, 4)
    for dtype in REAL + ["complex64"] * (name in COMPLEX):
        weight = make(adapter, name, dtype=dtype)(KEY, shape)
        assert weight.shape == shape
        assert weight.dtype == dtype
        assert jnp.array_equal(weight, make(adapter, name)(KEY, list(shape), dtype))


@pytest.mark.parametrize("dtype", [None, float, jnp.float32, np.float16, jnp.bfloat16, np.dtype("float32"), complex])
def test_dtypes_may_be_written_in_any_way(dtype):
    assert adapter.he_normal()(KEY, (2, 3), dtype).dtype == jnp.zeros((), float if dtype is None else dtype).dtype


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_the_bits_of_the_core(name):
    for shape in [(7, 9), (3, 3, 5, 4), (2, 3, 4, 5, 6)]:
        assert np.array_equal(make(adapter, name)(jax.random.key(7), shape), getattr(initlib, name)(shape, seed=7))


@pytest.mark.parametrize("name", ["uniform", "normal", "truncated_normal", "glorot_normal", "lecun_uniform"])
@pytest.mark.parametrize("dtype", ["float32", "complex64"])
def test_distributions_are_those_of_jax(name, dtype):
    """Between two draws of 2**18 the std differs by less than 1.4%, the mean by less than 0.02 sigma."""
    if dtype == "complex64" and name not in COMPLEX:
        pytest.skip("JAX has no complex weights of it")
    mine, peer = make(adapter, name)(KEY, (512, 512), dtype), make(jax_init, name)(KEY, (512, 512), dtype)
    if dtype == "complex64" and name == "glorot_normal":
        # JAX's constant leaves out the mass of the window: its weights have 1.9% too much variance.
        peer = peer * 0.9531116438049121 / math.sqrt(1 - 4 / math.expm1(4))
    spread = float(jnp.sqrt((abs(peer) ** 2).mean()))
    assert float(jnp.sqrt((abs(mine) ** 2).mean())) == pytest.approx(spread, rel=1.4e-2)
    assert abs(mine.mean() - peer.mean()) < 0.02 * spread


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", PRESETS)
def test_the_variance_follows_the_formula(name, dtype):
    """At n = 2**20 the std is off by less than 0.41% (uniform: 0.31%), the mean by less than 0.007 sigma."""
    weight = np.asarray(make(adapter, name)(KEY, (2048, 512), dtype), np.float64)
    std = getattr(initlib, name).std((2048, 512))
    assert weight.std() == pytest.approx(std, rel=0.0031 if name.endswith("uniform") else 0.0041)
    assert abs(weight.mean()) < 0.00696 * std


def test_keys_of_every_implementation_draw():
    expected = initlib.he_normal((4, 6), seed=5)
    init = adapter.he_normal()
    for key in (KEY, jax.random.key_data(KEY), np.array([0, 5], np.uint32), jax.random.key(5, impl="rbg")):
        assert np.array_equal(init(key, (4, 6)), expected)
        assert np.array_equal(jax.jit(init, static_argnums=1)(key, (4, 6)), expected)
    rbg = jax.random.key(5, impl="rbg")
    for other, same in ((jax.random.fold_in(rbg, 3), jax.random.fold_in(KEY, 3)), (jax.random.split(rbg)[1],) * 2):
        assert np.array_equal(init(other, (4, 6)), init(same, (4, 6)))
    # Every word counts.
    words = jax.random.key_data(jax.random.split(jax.random.key(5, impl="unsafe_rbg"))[0])
    draws = {
        np.asarray(init(jax.random.wrap_key_data(words.at[k].add(k < 4), impl="unsafe_rbg"), (1, 1))).item()
        for k in range(5)
    }
    assert len(draws) == 5


def test_keys_of_four_words_follow_the_documented_rule():
    words = np.array([1, 2, 3, 4], np.uint32)
    key = initlib.Key(1 << 32 | 2).fold_in(3 << 32 | 4)
    weight = adapter.normal(1.0)(jax.random.wrap_key_data(words, impl="unsafe_rbg"), (9,))
    assert np.array_equal(weight, initlib.normal()((9,), seed=key))


def test_seeds_and_names_select_streams_of_the_core():
    expected = initlib.he_normal((4, 6), seed=5, name="conv1")
    named = adapter.he_normal(name="conv1")
    assert np.array_equal(named(KEY, (4, 6)), expected)
    assert np.array_equal(jax.jit(named, static_argnums=1)(KEY, (4, 6)), expected)
    for seed in (5, initlib.Key(5)):
        assert np.array_equal(adapter.he_normal(seed=seed, name="conv1")(None, (4, 6)), expected)
    assert np.array_equal(adapter.he_normal(seed=2**63)(KEY, (4, 6)), initlib.he_normal((4, 6), seed=2**63))


@pytest.mark.parametrize(
    ("arguments", "shape", "axes"),
    [
        ({"in_axis": 1, "out_axis": 0}, (6, 5, 3, 3), "OIHW"),
        ({"in_axis": (0, 1), "out_axis": (-2, -1)}, (2, 3, 4, 5), "IIOO"),
        ({"in_axis": 0, "out_axis": (2, 3), "batch_axis": 1}, (2, 3, 4, 5), "IBOO"),
        ({"in_axis": [0], "out_axis": 2, "batch_axis": (1,)}, (2, 3, 4, 5), "IBOK"),
        ({"out_axis": 0}, (10, 4), "BK"),  # as embeddings ask for
        ({"in_axis": 0, "out_axis": 0}, (5,), "B"),
        ({"in_axis": (), "out_axis": 1}, (3, 4), "KO"),
    ],
)
def test_axis_arguments_are_an_axes_string(arguments, shape, axes):
    for mode in ("fan_in", "fan_out", "fan_avg", "fan_geo_avg"):
        weight = adapter.variance_scaling(2.0, mode, "normal", **arguments)(KEY, shape)
        core = initlib.variance_scaling(2.0, mode, "normal")
        assert np.array_equal(weight, core(shape, seed=5, axes=axes))
        assert np.array_equal(weight, adapter.variance_scaling(2.0, mode, "normal", axes=axes)(KEY, shape))
        roles = (arguments.get("in_axis", -2), arguments.get("out_axis", -1), arguments.get("batch_axis", ()))
        fan_in, fan_out = jax._src.nn.initializers._compute_fans(shape, *roles)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}.get(mode)
        assert core.std(shape, axes) == pytest.approx(math.sqrt(2 / (fan or math.sqrt(fan_in * fan_out))), rel=1e-12)


def test_jit_vmap_and_others_draw_the_same_bits():
    init = adapter.he_normal()
    keys = jax.random.split(KEY, 3)
    expected = np.stack([init(key, (4, 6)) for key in keys])
    assert np.array_equal(jax.vmap(lambda key: init(key, (4, 6)))(keys), expected)
    assert np.array_equal(jax.lax.map(lambda key: init(key, (4, 6)), keys), expected)
    assert jax.eval_shape(lambda key: init(key, (2**20, 2**25), "bfloat16"), KEY).shape == (2**20, 2**25)
    closed_over = jax.make_jaxpr(lambda: init(KEY, (64, 64)))()
    assert all(np.size(constant) < 1000 for constant in closed_over.consts)
    one, tangent = jax.jvp(lambda scale: adapter.normal(scale)(KEY, (4, 6)), (2.0,), (1.0,))
    assert np.allclose(one, 2 * tangent)


def test_jax_takes_over_the_memory_of_the_kernel():
    weight = adapter.he_normal()(KEY, (512, 512))
    assert weight.unsafe_buffer_pointer() % 64 == 0
    assert np.array_equal(weight, initlib.he_normal((512, 512), seed=5))
    assert not weight.committed
    committed = jax.device_put(KEY, jax.devices()[0])
    assert adapter.he_normal()(committed, (512, 512)).committed


@pytest.mark.parametrize("stddev", [0.0, -2.0, jnp.float32(2.0), np.array([1.0, 2.0])], ids=str)
def test_scales_that_the_core_refuses_are_factors(stddev):
    expected = jnp.asarray(stddev, "float32")
    for name in ("uniform", "normal", "truncated_normal"):
        weight, unit = getattr(adapter, name)(stddev)(KEY, (3, 2)), getattr(adapter, name)(1.0)(KEY, (3, 2))
        assert np.allclose(weight, unit * expected, rtol=1e-6)
    if np.all(expected >= 0):
        weight = adapter.variance_scaling(stddev, "fan_in", "normal")(KEY, (3, 2))
        unit = adapter.variance_scaling(1.0, "fan_in", "normal")(KEY, (3, 2))
        assert np.allclose(weight, unit * jnp.sqrt(expected), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_uniform_is_half_open(dtype):
    weight = np.asarray(adapter.uniform(0.3)(KEY, (2**20,), dtype))
    assert weight.min() >= 0
    assert weight.max() < 0.3
    assert weight.max() > 0.3 * (1 - 2.0**-7)
    core = initlib.uniform(0.0, 0.3)((2**20,), dtype, seed=5)
    assert (weight == np.minimum(core, weight.max())).all()


def test_a_truncation_may_have_no_bound():
    assert np.array_equal(
        adapter.truncated_normal(2.0, lower=-math.inf, upper=math.inf)(KEY, (99,)), adapter.normal(2.0)(KEY, (99,))
    )
    upper = adapter.truncated_normal(2.0, lower=0.5, upper=math.inf)(KEY, (999,))
    assert upper.min() >= 1.0


@pytest.mark.parametrize("column_axis", [-1, 0, 1, -2])
def test_columns_of_orthogonal_matrices_are_orthonormal(column_axis):
    weight = np.asarray(adapter.orthogonal(2.0, column_axis)(KEY, (4, 3, 5)))
    matrix = np.moveaxis(weight, column_axis, -1).reshape(-1, weight.shape[column_axis])
    assert np.allclose(matrix.T @ matrix, 4 * np.eye(matrix.shape[1]), atol=1e-5)


def test_composed_weights_agree_with_the_core():
    for core in (initlib.orthogonal(1.5), initlib.delta_orthogonal(), initlib.dirac(), initlib.sparse(0.5)):
        init = adapter.initializer(core, axes="OIHW")
        expected = core((6, 4, 3, 3), axes="OIHW", seed=5)
        assert np.array_equal(init(KEY, (6, 4, 3, 3)), expected)
        assert np.allclose(jax.jit(init, static_argnums=1)(KEY, (6, 4, 3, 3)), expected, atol=1e-6)


def test_complex_orthogonal_weights_are_unitary():
    kernel = adapter.delta_orthogonal()(KEY, (3, 4, 5, 6), "complex64")
    centre = kernel[1, 1]
    assert np.allclose(centre @ centre.conj().T, np.eye(5), atol=1e-5)
    assert (kernel != 0).sum() == 30


def test_initializers_compare_hash_pickle_and_print():
    init = adapter.he_normal(axes="OI", name="dense")
    assert init == adapter.he_normal(axes="OI", name="dense") == pickle.loads(pickle.dumps(init))
    assert hash(init) == hash(adapter.kaiming_normal(axes="OI", name="dense"))
    assert init != adapter.he_normal(axes="OI")
    assert "variance_scaling(factor=2.0" in repr(init)


def test_float64_becomes_the_dtype_that_jax_uses():
    with pytest.warns(UserWarning, match="float64 requested in .* is not available"):
        weight = adapter.he_normal()(KEY, (4, 6), "float64")
    assert np.array_equal(weight, initlib.he_normal((4, 6), seed=5))
    with jax.enable_x64(True):
        for dtype in (None, "float64"):
            wide = adapter.he_normal()(KEY, (4, 6), dtype)
            assert np.array_equal(wide, initlib.he_normal((4, 6), "float64", seed=5))
        assert adapter.he_normal()(KEY, (4, 6), "complex128").dtype == "complex128"


def test_empty_weights_are_drawn_with_a_warning():
    for dtype in ("float32", "complex64"):
        with pytest.warns(UserWarning, match="holds no weights"):
            assert adapter.he_normal()(KEY, (0, 3), dtype).shape == (0, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert jax.jit(lambda key: adapter.he_normal()(key, (0, 3)))(KEY).shape == (0, 3)
    assert adapter.orthogonal()(KEY, (0, 3)).shape == (0, 3)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (
            lambda: adapter.he_normal()(KEY, (5,)),
            ValueError,
            "^Can't compute input and output sizes of a 1-dimensional",
        ),
        (lambda: adapter.he_normal()(KEY, ()), ValueError, "^Can't compute input and output sizes of a 0-dimensional"),
        (lambda: adapter.he_normal(5)(KEY, (5, 4)), IndexError, "in_axis: axis 5 is out of bounds"),
        (
            lambda: adapter.he_normal(0, 1, 0)(KEY, (5, 4)),
            ValueError,
            "batch_axis must name each axis once, .* got axis 0 of 2 twice",
        ),
        (
            lambda: adapter.he_normal((0, 0))(KEY, (5, 4)),
            ValueError,
            "in_axis must name each axis once, .* got axis 0 of 2 twice",
        ),
        (lambda: adapter.he_normal("x"), TypeError, "in_axis must be an int"),
        (lambda: adapter.he_normal(axes="OI", in_axis=0), ValueError, "axes must be given alone, got axes 'OI'"),
        (lambda: adapter.he_normal(axes="OIH")(KEY, (5, 4)), ValueError, "axes must name 2 axes for shape"),
        (lambda: adapter.he_normal(axes="oi"), ValueError, "axes must consist of .*, got 'o' in 'oi'"),
        (lambda: adapter.he_normal(seed=-1), ValueError, "seed must be at least 0"),
        (lambda: adapter.he_normal(name=3), TypeError, "name must be a string"),
        (lambda: adapter.he_normal()(0, (5, 4)), TypeError, "key"),
        (lambda: adapter.he_normal()(None, (5, 4)), TypeError, "key"),
        (lambda: adapter.he_normal()(jax.random.split(KEY), (5, 4)), ValueError, "accepts a single key"),
        (lambda: adapter.he_normal()(KEY, (5, -4)), ValueError, "negative size"),
        (lambda: adapter.he_normal()(KEY, (5, 4.0)), TypeError, "shape must be"),
        (
            lambda: adapter.normal()(KEY, (5, 4), int),
            ValueError,
            "dtype argument to `normal` must be a float or complex",
        ),
        (lambda: adapter.normal()(KEY, (5, 4), object), TypeError, "dtype"),
        (
            lambda: adapter.truncated_normal()(KEY, (5, 4), "complex64"),
            ValueError,
            "truncated_normal must be real, got",
        ),
        (lambda: adapter.variance_scaling(1.0, "fan", "normal"), ValueError, "invalid mode for variance scaling init"),
        (lambda: adapter.variance_scaling(1.0, "fan_in", "x"), ValueError, "invalid distribution for variance scaling"),
        (lambda: adapter.variance_scaling(-1.0, "fan_in", "normal"), ValueError, "scale must be at least 0"),
        (lambda: adapter.truncated_normal(lower=1.0, upper=0.0), ValueError, "low must not be above high"),
        (lambda: adapter.orthogonal()(KEY, (4,)), ValueError, "^orthogonal initializer requires at least a 2D shape$"),
        (lambda: adapter.orthogonal(column_axis=3)(KEY, (4, 4)), IndexError, "out of bounds"),
        (lambda: adapter.delta_orthogonal()(KEY, (4, 3)), ValueError, "requires a 3D, 4D or 5D shape"),
        (lambda: adapter.delta_orthogonal()(KEY, (3, 4, 3)), ValueError, "`fan_in` must be less or equal"),
        (lambda: adapter.delta_orthogonal(column_axis=2), ValueError, "column_axis must be"),
        (lambda: adapter.initializer("he_normal"), TypeError, "core must be an initlib initializer"),
        (lambda: adapter.he_normal()(KEY, (4, 4), out_sharding=jax.P("x")), ValueError, "must have a mesh"),
        (lambda: adapter.normal("x"), TypeError, "stddev must be a real number"),
        (lambda: adapter.uniform(math.nan), ValueError, "scale must be finite"),
        (lambda: adapter.he_normal()(KEY, (4, 4), out_sharding="x"), TypeError, "out_sharding must be"),
        (lambda: jax.eval_shape(lambda: adapter.normal()(KEY, (2**32 + 1,))), ValueError, "2\\*\\*32"),
    ],
)
def test_errors_are_those_of_jax(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize("shape", [(2**31 + 1,), (2**32,), (2**32, 3)])
def test_axes_past_2_to_the_31_are_drawn(shape):
    assert jax.eval_shape(lambda: adapter.normal()(KEY, shape)).shape == shape


CORES = [
    initlib.orthogonal(),
    initlib.sparse(0.5),
    initlib.dirac(),
    initlib.zero_hadamard(),
    initlib.sinusoidal(),
    initlib.log_uniform(1, 2),
    initlib.inverse_softplus(initlib.uniform(1, 2)),
    initlib.truncated_normal(low=5, high=6),
    initlib.orthogonal() * 0.5,
]


@pytest.mark.parametrize(
    "mode",
    [lambda: jax.numpy_dtype_promotion("strict"), lambda: jax.numpy_rank_promotion("raise")],
    ids=["dtype", "rank"],
)
@pytest.mark.parametrize("dtype", ["bfloat16", "complex64"])
@pytest.mark.parametrize("initializer", [*DISTINCT, *CORES], ids=str)
def test_draws_need_no_promotion_of_dtypes(initializer, dtype, mode):
    init = make(adapter, initializer) if isinstance(initializer, str) else adapter.initializer(initializer)
    if dtype == "complex64" and (initializer in ("uniform", "truncated_normal") or initializer in CORES[5:8]):
        pytest.skip("it has no complex weights")
    with mode():
        known, traced = init(KEY, (3, 4, 4), dtype), jax.jit(lambda key: init(key, (3, 4, 4), dtype))(KEY)
    assert known.dtype == traced.dtype == dtype
    assert jnp.allclose(known, traced, rtol=1e-2 if dtype == "bfloat16" else 1e-5, atol=1e-6)


@pytest.mark.parametrize("core", [*CORES[5:8], initlib.siren()], ids=repr)
def test_real_schemes_refuse_complex_dtypes(core):
    with pytest.raises(ValueError, match=f"dtype of {core.factory} must be real, got complex64"):
        core((4, 4), "complex64", seed=0)
    with pytest.raises(ValueError, match=f"dtype of {core.factory} must be real, got complex64"):
        adapter.initializer(core)(KEY, (4, 4), "complex64")


def test_scalars_and_vectors_may_have_no_inputs_and_outputs():
    for shape in ((), (3,)):
        weight = adapter.variance_scaling(1.0, "fan_in", "normal", in_axis=[], out_axis=[])(KEY, shape)
        assert jnp.array_equal(weight, initlib.variance_scaling(1.0, "fan_in", "normal")(shape, axes="...", seed=5))


def test_an_initializer_that_holds_an_array_equals_only_itself():
    for init, again in [
        (adapter.normal(jnp.arange(3.0)), adapter.normal(jnp.arange(3.0))),
        (adapter.truncated_normal(lower=jnp.arange(3.0)), adapter.truncated_normal(lower=jnp.arange(3.0))),
    ]:
        assert init == init
        assert init != again
        assert len({init, again}) == 2
    assert adapter.normal(jnp.float32(2)) == adapter.normal(2.0)
    assert hash(adapter.normal(jnp.float32(2))) == hash(adapter.normal(2.0))
    assert adapter.normal(-1.0) == adapter.normal(-1.0) != adapter.normal(-2.0)


@pytest.mark.parametrize("name", DISTINCT)
def test_initializers_have_names_as_functions_have(name):
    assert make(adapter, name).__name__ == make(adapter, name).core.factory
    assert getattr(adapter, name).__name__ == name


def test_symbolic_shapes_are_refused():
    from jax import export

    shape = export.symbolic_shape("a, 4")
    with pytest.raises(TypeError, match=r"shape must be an int or a sequence of ints, got \(a, 4\)"):
        jax.eval_shape(lambda x: adapter.normal()(KEY, x.shape), jax.ShapeDtypeStruct(shape, jnp.float32))


BOUNDS = [(jnp.arange(4.0), jnp.arange(4.0) + 1), (np.array([-1.0]), 1.0), (0.5, np.linspace(1, 2, 4))]


@pytest.mark.parametrize(("lower", "upper"), BOUNDS, ids=["JAX's", "NumPy's", "one"])
def test_bounds_may_be_arrays(lower, upper):
    weight = adapter.truncated_normal(2.0, lower=lower, upper=upper)(KEY, (3, 4))
    assert jnp.array_equal(weight, jax_init.truncated_normal(2.0, lower=lower, upper=upper)(KEY, (3, 4)))
    assert ((weight >= 2.0 * jnp.asarray(lower)) & (weight <= 2.0 * jnp.asarray(upper))).all()


def test_bounds_may_be_traced():
    def draw(lower, upper):
        return adapter.truncated_normal(2.0, "bfloat16", lower, upper, seed=3)(KEY, (3, 4))

    weight = jax.jit(draw)(-1.0, 1.0)
    assert weight.dtype == "bfloat16"
    assert jnp.array_equal(weight, jax.jit(draw)(-1.0, 1.0))
    assert (abs(weight) <= 2).all()


def test_shapes_larger_than_memory_can_be_traced():
    for init, shape in ((adapter.normal(), (2**32, 2)), (adapter.orthogonal(), (100_000, 100_000))):
        assert jax.eval_shape(lambda key: init(key, shape), KEY).shape == shape  # noqa: B023


def test_a_compiled_orthogonal_matrix_is_one_loop():
    small, large = (
        jax.make_jaxpr(lambda key: adapter.orthogonal()(key, (size, size)))(KEY).pretty_print().count("\n")  # noqa: B023
        for size in (256, 4096)
    )
    assert large < 1.1 * small


# Frequent slips


SLIPS = [
    (
        lambda: adapter.he_normal()(KEY, 3, 4),
        r"shape must be one argument, got 3, 4\. Call .* \(key, \(3, 4\)\)\.",
    ),
    (lambda: adapter.normal()(KEY, 3, 4, 5), r"got 3, 4, 5\. Call the initializer with \(key, \(3, 4, 5\)\)\."),
    (lambda: adapter.zeros(), r"zeros must be called with a key and a shape, got no arguments\. Write zeros, without"),
    (lambda: adapter.ones(), r"Write ones, without"),
]


@pytest.mark.parametrize(("slip", "match"), SLIPS, ids=["shape", "shape of three axes", "zeros()", "ones()"])
def test_a_frequent_mistake_is_an_error_with_the_fix(slip, match):
    with pytest.raises(TypeError, match=match):
        slip()


@pytest.mark.parametrize("key", [KEY, jax.random.PRNGKey(5)], ids=["typed", "raw"])
@pytest.mark.parametrize("name", [name for name in DISTINCT if name != "variance_scaling"])
def test_a_factory_that_is_not_called_is_an_error_with_the_fix(name, key):
    """Flax calls the factory in a layer with kernel_init=he_normal, in place of he_normal()."""
    factory = getattr(adapter, name)
    with pytest.raises(
        TypeError, match=rf"got a random key as its first argument\. Write {name}\(\), with parentheses"
    ):
        factory(key, (3, 4), jnp.float32)
    with pytest.raises(TypeError, match="with parentheses"):
        jax.eval_shape(lambda key: factory(key, (3, 4), jnp.float32), key)


def test_zeros_and_ones_are_the_functions_of_jax():
    for name in ("zeros", "ones"):
        mine, expected = getattr(adapter, name), getattr(jax_init, name)
        assert jnp.array_equal(mine(KEY, (2, 3), "bfloat16"), expected(KEY, (2, 3), "bfloat16"))
        assert pickle.loads(pickle.dumps(mine)) is mine


def test_array_bounds_work_where_this_module_replaces_jax_initializers(monkeypatch):
    expected = adapter.truncated_normal(lower=jnp.arange(3.0))(KEY, (3,))
    monkeypatch.setattr(jax.nn.initializers, "truncated_normal", adapter.truncated_normal)
    assert jnp.array_equal(jax.nn.initializers.truncated_normal(lower=jnp.arange(3.0))(KEY, (3,)), expected)


@pytest.mark.parametrize("key", [jax.random.key(0), jax.random.PRNGKey(0)], ids=["typed", "raw"])
def test_an_initializer_of_the_core_draws_where_jax_calls_it_with_a_key(key):
    expected = adapter.he_normal()(key, (3, 4), "bfloat16")
    assert (initlib.he_normal(key, (3, 4), "bfloat16") == expected).all()
    assert (jax.jit(lambda key: initlib.he_normal(key, (3, 4), "bfloat16"))(key) == expected).all()


def test_more_than_two_positional_arguments_are_an_error_without_a_key():
    with pytest.raises(TypeError, match=r"shape must be one argument, got 3, 4, 5. Pass a tuple: \(3, 4, 5\)"):
        initlib.he_normal(3, 4, 5)

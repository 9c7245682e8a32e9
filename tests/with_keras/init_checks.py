"""Checks of the Keras adapter on the backend of this process; `test_backends.py` runs them on each backend."""

import copy
import doctest
import inspect
import json
import os
import pickle
import random
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest

import initlib
from initlib import Key
from initlib.adapters import keras as adapter

BACKEND = keras.backend.backend()
assert os.environ["KERAS_BACKEND"] == BACKEND
if BACKEND == "tensorflow":
    import tensorflow as tf

    cpu, *_ = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
pytestmark = pytest.mark.filterwarnings(  # of Keras's own conversions, with NumPy 2.5
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)
only = {name: pytest.mark.skipif(name != BACKEND, reason=f"of {name}") for name in ("jax", "tensorflow", "torch")}

RANDOM = {
    "VarianceScaling": (
        lambda **k: adapter.VarianceScaling(1.5, "fan_out", "untruncated_normal", **k),
        initlib.variance_scaling(1.5, "fan_out", "normal"),
    ),
    "VarianceScaling normal": (
        lambda **k: adapter.VarianceScaling(0.1, "fan_avg", "normal", **k),
        initlib.variance_scaling(0.1, "fan_avg", "truncated_normal"),
    ),
    "GlorotNormal": (adapter.GlorotNormal, initlib.glorot_normal),
    "GlorotUniform": (adapter.GlorotUniform, initlib.glorot_uniform),
    "HeNormal": (adapter.HeNormal, initlib.he_normal),
    "HeUniform": (adapter.HeUniform, initlib.he_uniform),
    "LecunNormal": (adapter.LecunNormal, initlib.lecun_normal),
    "LecunUniform": (adapter.LecunUniform, initlib.lecun_uniform),
    "RandomNormal": (lambda **k: adapter.RandomNormal(0.5, 2.0, **k), initlib.normal(0.5, 2.0)),
    "RandomUniform": (lambda **k: adapter.RandomUniform(-1, 2, **k), initlib.uniform(-1, 2)),
    "TruncatedNormal": (lambda **k: adapter.TruncatedNormal(0.5, 2.0, **k), initlib.truncated_normal(0.5, 2.0)),
    "Orthogonal": (lambda **k: adapter.Orthogonal(2.0, **k), initlib.orthogonal(2.0)),
    "delta_orthogonal": (
        lambda **k: adapter.CoreInitializer(initlib.delta_orthogonal(), **k),
        initlib.delta_orthogonal(),
    ),
    "dirac": (lambda **k: adapter.CoreInitializer(initlib.dirac(), **k), initlib.dirac()),
    "fan_geo_avg": (
        lambda **k: adapter.CoreInitializer(initlib.variance_scaling(mode="fan_geo_avg"), **k),
        initlib.variance_scaling(mode="fan_geo_avg"),
    ),
}
ELEMENTWISE = [name for name in RANDOM if name not in ("Orthogonal", "delta_orthogonal", "dirac")]


def values(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor)).astype(np.float64)


def equal(tensor, array):
    return tuple(tensor.shape) == array.shape and np.array_equal(values(tensor), array.astype(np.float64))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(("shape", "axes"), [((20, 30), None), ((3, 3, 8, 16), "HWIO"), ((3, 3, 16, 8), "HWOI")])
@pytest.mark.parametrize("case", RANDOM)
def test_weights_are_those_of_the_core(case, shape, axes, dtype):
    make, core = RANDOM[case]
    initializer = make(seed=5, axes=axes)
    assert initializer.core == core
    weight = initializer(shape, dtype)
    assert keras.ops.is_tensor(weight)
    assert keras.backend.standardize_dtype(weight.dtype) == dtype
    assert equal(weight, core(shape, dtype, seed=5, axes=axes))


@pytest.mark.parametrize("shape", [(), (1,), (7,), (1, 1), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("case", ELEMENTWISE)
def test_any_shape_is_drawn(case, shape):
    make, core = RANDOM[case]
    assert equal(make(seed=2**64 - 1)(shape), core(shape, seed=2**64 - 1))
    assert equal(make(seed=0)(list(shape), dtype=None), core(shape, seed=0))


def test_an_empty_weight_is_drawn():
    with pytest.warns(UserWarning, match="holds no weights"):
        assert tuple(adapter.HeNormal(seed=0)((0, 5)).shape) == (0, 5)


def test_dtypes_of_keras_are_drawn():
    wide = adapter.HeNormal(seed=0)((4, 5), "float64")
    dtype = "float32" if BACKEND == "jax" else "float64"  # JAX's 64 bits are off
    assert equal(wide, initlib.he_normal((4, 5), dtype, seed=0))
    before = keras.config.floatx()
    keras.config.set_floatx("bfloat16")
    try:
        assert equal(adapter.HeNormal(seed=0)((4, 5)), initlib.he_normal((4, 5), "bfloat16", seed=0))
    finally:
        keras.config.set_floatx(before)
    with pytest.raises(TypeError, match=r"dtype must be one of float16, bfloat16, .* got 'int32'"):
        adapter.RandomUniform(0, 10, seed=0)((4, 5), "int32")


def test_a_truncated_normal_of_std_0_is_its_mean():
    assert equal(adapter.TruncatedNormal(2.0, 0.0, seed=0)((2, 3)), np.full((2, 3), 2.0))


# Seeds


def test_a_name_selects_a_stream():
    weight = adapter.HeNormal(seed=3, name="conv1")((4, 5))
    assert equal(weight, initlib.he_normal((4, 5), seed=3, name="conv1"))
    assert not equal(weight, initlib.he_normal((4, 5), seed=3))


def test_an_int_seed_repeats_and_a_generator_advances():
    initializer = adapter.HeNormal(seed=5)
    assert np.array_equal(values(initializer((4, 5))), values(initializer((4, 5))))
    generator = keras.random.SeedGenerator(5)
    first, second = adapter.HeNormal(seed=generator), adapter.HeUniform(seed=generator, name="head")
    for call in range(4):
        assert equal(first((4, 5)), initlib.he_normal((4, 5), seed=Key(5).fold_in(2 * call)))
        assert equal(second((4, 5)), initlib.he_uniform((4, 5), seed=Key(5).fold_in(2 * call + 1), name="head"))


def test_a_refused_draw_does_not_advance_a_generator():
    generator = keras.random.SeedGenerator(5)
    with pytest.raises(TypeError, match="dtype must be one of"):
        adapter.HeNormal(seed=generator)((4, 5), "int8")
    with pytest.raises(ValueError, match=r"axes must name . axes for shape .*, got 'OIHW'"):
        adapter.HeNormal(seed=generator, axes="OIHW")((4, 5))
    assert values(generator.state).tolist() == [5, 0]


def test_none_takes_a_seed_from_python_once():
    set_seed = keras.utils.set_random_seed if BACKEND == "tensorflow" else random.seed  # Keras's imports TensorFlow
    set_seed(7)
    first, second = adapter.HeNormal(), adapter.HeNormal()
    assert first.seed != second.seed
    assert equal(first((4, 5)), initlib.he_normal((4, 5), seed=first.seed))
    assert equal(first((4, 5)), initlib.he_normal((4, 5), seed=first.seed))
    set_seed(7)
    assert adapter.HeNormal().seed == first.seed
    assert first.clone().seed != first.seed
    assert first.get_config()["seed"] is None


# Names, signatures and errors


def test_every_name_of_keras_exists():
    keras_names = {name: value for name, value in vars(keras.initializers).items() if not name.startswith("_")}
    keras_names = {name: value for name, value in keras_names.items() if not inspect.ismodule(value)}
    assert set(keras_names) <= set(adapter.__all__)
    for name, value in keras_names.items():
        cls = getattr(adapter, name)
        if not inspect.isclass(value):
            continue
        assert issubclass(cls, value)
        parameters = inspect.signature(cls).parameters
        for key, parameter in inspect.signature(value).parameters.items():
            assert parameters[key].default == parameter.default
            assert list(parameters)[: len(inspect.signature(value).parameters)] == list(
                inspect.signature(value).parameters
            )


def test_subclasses_show_their_own_arguments():
    class Mine(adapter.HeNormal):
        def __init__(self, width, **kwargs):
            super().__init__(**kwargs)

    class Again(Mine):
        pass

    class Plain(adapter.HeNormal, dict):
        pass

    assert str(inspect.signature(Mine)) == str(inspect.signature(Again)) == "(width, **kwargs)"
    assert inspect.signature(Plain) == inspect.signature(adapter.HeNormal)
    assert Again(3, seed=5, axes="IO").core == initlib.he_normal
    assert str(inspect.signature(adapter.RandomNormal)) == "(mean=0.0, stddev=0.05, seed=None, *, axes=None, name=None)"


NAMES = [name for name in adapter.__all__ if name[0].islower() and isinstance(getattr(adapter, name), type)]


@pytest.mark.parametrize("name", [*(name for name in NAMES if name != "constant"), "normal", "one", "uniform", "zero"])
def test_get_returns_initializers_by_name(name):  # of a constant it asks for a value
    expected = keras.initializers.get(name)
    actual = adapter.get(name)
    assert isinstance(actual, type(expected))
    assert type(actual) is getattr(adapter, type(actual).__name__)


def test_get_of_another_object_is_that_of_keras():
    assert adapter.get(None) is None
    assert isinstance(adapter.get(adapter.HeNormal), adapter.HeNormal)
    assert adapter.get(np.ones) is np.ones
    assert isinstance(keras.initializers.get("initlib>HeNormal"), adapter.HeNormal)
    assert isinstance(adapter.get("initlib>HeNormal"), adapter.HeNormal)
    assert adapter.get(initlib.dirac()).core == initlib.dirac()
    assert values(adapter.get(np.eye(3, dtype="float32"))((3, 3))).tolist() == np.eye(3).tolist()
    for wrong in ("typo", 3):
        with pytest.raises(ValueError, match="Could not interpret initializer identifier"):
            adapter.get(wrong)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: adapter.VarianceScaling(-1.0), ValueError, "Argument `scale` must be positive float."),
        (lambda: adapter.VarianceScaling(mode="fan"), ValueError, "Invalid `mode` argument:"),
        (lambda: adapter.VarianceScaling(distribution="cauchy"), ValueError, "Invalid `distribution` argument:"),
        (lambda: adapter.HeNormal(seed="0"), ValueError, "`seed` argument should be an instance of"),
        (lambda: adapter.HeNormal(seed=1.5), ValueError, "`seed` argument should be an instance of"),
        (lambda: adapter.HeNormal(seed=0, name=3), TypeError, "name must be a string, got 3"),
        (lambda: adapter.RandomNormal(np.ones(2), seed=0), TypeError, "mean must be a real number, got array"),
        (lambda: adapter.HeNormal(axes="hwio"), ValueError, "axes must consist of .*, got 'h' in 'hwio'"),
        (lambda: adapter.HeNormal(axes=3), TypeError, "axes must be a string"),
        (lambda: adapter.HeNormal(name=3), TypeError, "name must be a string, got 3"),
        (lambda: adapter.HeNormal(gain=3), TypeError, "gain"),
        (lambda: adapter.RandomNormal(stddev=-1), ValueError, "std must be at least 0, got -1.0"),
        (lambda: adapter.TruncatedNormal(stddev=-1), ValueError, "std must be at least 0, got -1.0"),
        (lambda: adapter.RandomNormal(mean="a"), TypeError, "mean must be a real number, got 'a'"),
        (lambda: adapter.RandomUniform(1, 0), ValueError, "low must not be above high"),
        (lambda: adapter.Orthogonal(gain=float("nan")), ValueError, "gain must be finite"),
        (lambda: adapter.CoreInitializer("dirac"), TypeError, "core must be an initializer of initlib"),
        (lambda: adapter.CoreInitializer(initlib.dirac), TypeError, "core must be an initializer of initlib"),
        (lambda: adapter.HeNormal(axes="OIHW")((3, 4)), ValueError, "must name 2 axes for shape \\(3, 4\\)"),
        (lambda: adapter.HeNormal()((3, -4)), ValueError, "negative size"),
        (lambda: adapter.HeNormal()((3, None)), TypeError, "shape must be an int or a sequence of ints"),
        (lambda: adapter.HeNormal()((3, 4), "int8"), TypeError, "dtype must be one of"),
        (lambda: adapter.Orthogonal()((3,)), ValueError, "2"),
        (
            lambda: adapter.HeNormal(input_axes=[2], output_axes=[0])((3, 4)),
            ValueError,
            "input_axes must name axes of a weight of 2 axes, got \\[2\\]",
        ),
    ],
)
def test_wrong_arguments_are_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


# Axes


@pytest.mark.parametrize(
    ("shape", "inputs", "outputs", "axes"),
    [
        ((64, 4, 16), [0], [1, 2], "IOO"),
        ((4, 16, 64), [0, 1], [2], "IIO"),
        ((4, 16, 64), [0, -2], [-1], "IIO"),
        ((5, 16, 64), [1], [2], "BIO"),
        ((5, 16, 64), [0, 1], [0, 2], "HIO"),
        ((64,), [], [0], "O"),
    ],
)
def test_axes_of_keras_become_letters(shape, inputs, outputs, axes):
    for mode in ("fan_in", "fan_out", "fan_avg"):
        initializer = adapter.VarianceScaling(2.0, mode, seed=1, input_axes=inputs, output_axes=outputs)
        assert equal(initializer(shape), initlib.variance_scaling(2.0, mode)(shape, seed=1, axes=axes))
    both = adapter.HeNormal(seed=1, input_axes=inputs, output_axes=outputs, axes="...O")
    assert both._axes(len(shape)) == both.axes
    assert adapter.HeNormal(seed=1, input_axes=inputs)._axes(len(shape)) is None


# Configs


@pytest.mark.parametrize("seed", [5, None, "generator"])
@pytest.mark.parametrize("case", RANDOM)
def test_configs_and_pickles_give_equal_initializers(case, seed):
    seed = keras.random.SeedGenerator(5) if seed == "generator" else seed
    initializer = RANDOM[case][0](seed=seed, axes="...IO", name="a")
    config = json.loads(json.dumps(initializer.get_config()))
    for again in (type(initializer).from_config(config), initializer.clone()):
        assert again.get_config() == initializer.get_config()
    saved = json.loads(json.dumps(adapter.serialize(initializer)))
    assert saved["registered_name"] == f"initlib>{type(initializer).__name__}"
    for load in (adapter.deserialize, keras.initializers.deserialize, adapter.get, keras.initializers.get):
        loaded = load(saved)
        assert type(loaded) is type(initializer)
        assert (loaded.core, loaded.get_config()) == (initializer.core, initializer.get_config())
        if seed is not None:
            assert np.array_equal(
                values(loaded((4, 5))), values(RANDOM[case][0](seed=loaded.clone().seed, name="a")((4, 5)))
            )
    if isinstance(seed, int):
        for again in (pickle.loads(pickle.dumps(initializer)), copy.deepcopy(initializer)):
            assert again.get_config() == initializer.get_config()


def test_old_configs_and_configs_of_keras_load():
    config = keras.initializers.serialize(keras.initializers.HeNormal(seed=5))
    loaded = adapter.deserialize(config)
    assert type(loaded) is adapter.HeNormal
    assert type(adapter.HeNormal.from_config({"seed": 5})) is adapter.HeNormal
    assert equal(loaded((4, 5)), initlib.he_normal((4, 5), seed=5))
    old = adapter.HeNormal(seed=5)
    del old.axes, old.name
    assert equal(pickle.loads(pickle.dumps(old))((4, 5)), initlib.he_normal((4, 5), seed=5))
    own = adapter.deserialize(json.loads(json.dumps(adapter.serialize(adapter.Constant(2.0)))))
    assert type(own) is keras.initializers.Constant


@pytest.mark.parametrize(
    "core",
    [
        initlib.he_normal,
        initlib.truncated_normal(0, 2),
        initlib.orthogonal(),
        initlib.sparse(0.5),
        initlib.siren(first=True),
        initlib.sparse(0.5) * 0.5,
        initlib.icnr(initlib.uniform(-1, 1) * 0.5, 2),
    ],
    ids=repr,
)
def test_bare_core_initializers_have_configs(core):
    saved = json.loads(json.dumps(adapter.serialize(core)))
    assert keras.initializers.deserialize(saved) == core
    assert type(core).from_config(core.get_config()) == core


@pytest.mark.parametrize("seed", [-1, -5, -(2**63), 2**64 - 1, 2**70 + 3, True])
def test_seeds_are_any_int_modulo_2_64(seed):
    saved = json.loads(json.dumps(adapter.serialize(adapter.HeNormal(seed=seed, name="a"))))
    for initializer in (adapter.HeNormal(seed=seed, name="a"), adapter.deserialize(saved)):
        assert equal(initializer((4, 5)), initlib.he_normal((4, 5), seed=seed % 2**64, name="a"))


def test_configs_without_new_arguments_are_those_of_keras():
    for case in ELEMENTWISE[:-1]:
        initializer = RANDOM[case][0](seed=5)
        peer = getattr(keras.initializers, type(initializer).__name__)
        config = initializer.get_config()
        assert type(peer.from_config(config)) is peer
        assert peer.from_config(config).get_config() == config


def test_a_saved_model_loads_without_this_library(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, kernel_initializer=adapter.HeNormal(seed=5)),
            keras.layers.Dense(2, kernel_initializer=adapter.Orthogonal(seed=5)),
        ]
    )
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "weights.npy", values(model.layers[0].kernel))
    program = f"""
import sys
sys.modules["initlib"] = None
import keras, numpy
model = keras.models.load_model({str(tmp_path / "model.keras")!r})
initializers = [layer.kernel_initializer for layer in model.layers]
assert [type(i) for i in initializers] == [keras.initializers.HeNormal, keras.initializers.Orthogonal], initializers
assert [i.seed for i in initializers] == [5, 5]
kernel = keras.ops.convert_to_numpy(model.layers[0].kernel)
assert (kernel == numpy.load({str(tmp_path / "weights.npy")!r})).all()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_get_can_replace_the_function_of_keras(monkeypatch):
    monkeypatch.setattr(keras.initializers, "get", adapter.get)
    assert type(keras.initializers.get("he_normal")) is adapter.HeNormal
    assert keras.initializers.get(None) is None
    with pytest.raises(ValueError, match="Could not interpret initializer identifier: 3"):
        keras.initializers.get(3)


@pytest.mark.parametrize("factor", [-1, "a"])
def test_invalid_configs_are_refused(factor):
    saved = adapter.serialize(initlib.sparse(0.5) * 0.5)
    saved["config"]["std"] = factor
    with pytest.raises((TypeError, ValueError), match="std must be "):
        adapter.deserialize(saved)
    saved = adapter.serialize(initlib.he_normal * 0.5)
    saved["config"]["factor"] = factor
    with pytest.raises((TypeError, ValueError), match="factor must be "):
        adapter.deserialize(saved)


# Layers and models

LAYERS = {
    "dense": lambda i: (keras.layers.Dense(6, kernel_initializer=i), (2, 5)),
    "conv": lambda i: (keras.layers.Conv2D(6, 3, kernel_initializer=i), (2, 8, 8, 3)),
    "transposed": lambda i: (keras.layers.Conv2DTranspose(6, 3, kernel_initializer=i), (2, 8, 8, 3)),
    "depthwise": lambda i: (keras.layers.DepthwiseConv2D(3, depthwise_initializer=i), (2, 8, 8, 3)),
    "separable": lambda i: (
        keras.layers.SeparableConv2D(6, 3, depthwise_initializer=i, pointwise_initializer=i),
        (2, 8, 8, 3),
    ),
    "einsum": lambda i: (keras.layers.EinsumDense("abc,cde->abde", (None, 4, 8), kernel_initializer=i), (2, 3, 5)),
    "lstm": lambda i: (keras.layers.LSTM(4, kernel_initializer=i, recurrent_initializer=i), (2, 3, 5)),
    "gru": lambda i: (keras.layers.GRU(4, kernel_initializer=i, recurrent_initializer=i), (2, 3, 5)),
    "embedding": lambda i: (keras.layers.Embedding(7, 4, embeddings_initializer=i), (2, 3)),
}
INITIALIZERS = {
    "int": lambda: adapter.HeNormal(seed=0),
    "none": lambda: adapter.GlorotUniform(),
    "generator": lambda: adapter.LecunNormal(seed=keras.random.SeedGenerator(1)),
    "core": lambda: adapter.CoreInitializer(initlib.orthogonal(), seed=0),
    "bare": lambda: initlib.he_normal,
}


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "bfloat16", "mixed_float16", "float16"])
@pytest.mark.parametrize("initializer", INITIALIZERS)
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_draw_by_the_initializers(layer, initializer, policy):
    if policy != "float32" and layer not in ("dense", "conv"):
        return
    made, shape = LAYERS[layer](INITIALIZERS[initializer]())
    config = {**made.get_config(), "dtype": policy}
    made = type(made).from_config(json.loads(json.dumps({**config, "dtype": policy})))
    made.build(shape)
    kernel = made.weights[0]
    assert np.isfinite(values(kernel.value)).all()
    assert values(kernel.value).std() > 0
    assert kernel.dtype == ("float32" if policy.startswith("mixed") else policy)
    if initializer == "int" and layer in ("dense", "conv", "lstm"):
        assert equal(kernel.value, initlib.he_normal(tuple(kernel.shape), kernel.dtype, seed=0))
    if initializer == "int" and layer == "einsum":
        assert equal(kernel.value, initlib.he_normal(tuple(kernel.shape), axes="IOO", seed=0))
    if initializer == "core" and layer == "einsum":
        assert equal(kernel.value, initlib.orthogonal()(tuple(kernel.shape), axes="IOO", seed=0))


def attention(initializer):
    layer = keras.layers.MultiHeadAttention(4, 8, kernel_initializer=initializer)
    layer.build((None, 10, 32), (None, 10, 32))
    dense = {"q": layer.query_dense, "k": layer.key_dense, "v": layer.value_dense, "o": layer.output_dense}
    return {name: part.kernel.value for name, part in dense.items()}


def test_attention_clones_its_initializer():
    kernels = attention(adapter.HeNormal(seed=3))
    for name in "qkv":  # an int repeats, as in Keras
        assert equal(kernels[name], initlib.he_normal((32, 4, 8), axes="IOO", seed=3))
    assert equal(kernels["o"], initlib.he_normal((4, 8, 32), axes="IIO", seed=3))
    for free in (
        adapter.HeNormal(),
        adapter.CoreInitializer(initlib.orthogonal()),
        initlib.he_normal,
        initlib.sparse(0.1),
    ):
        kernels = attention(free)
        assert not np.array_equal(values(kernels["q"]), values(kernels["k"]))
    whole = values(attention(adapter.CoreInitializer(initlib.orthogonal(), seed=1))["o"]).reshape(32, 32)
    np.testing.assert_allclose(whole @ whole.T, np.eye(32), atol=1e-5)


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_saved_models_load_with_equal_initializers(initializer, tmp_path):
    make = INITIALIZERS[initializer]
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, kernel_initializer=make())(inputs)
    x = keras.layers.Reshape((36, 4))(x)
    x = keras.layers.MultiHeadAttention(2, 4, kernel_initializer=make())(x, x)
    model = keras.Model(inputs, keras.layers.Dense(2, kernel_initializer=make())(x))
    batch = np.arange(2 * 8 * 8 * 3, dtype="float32").reshape(2, 8, 8, 3) / 384
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.models.load_model(path)
    assert np.array_equal(values(model(batch)), values(loaded(batch)))
    again = keras.models.model_from_json(model.to_json())
    again.build(model.input_shape)
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]
    assert type(again.layers[1].kernel_initializer) is type(model.layers[1].kernel_initializer)
    if initializer in ("int", "core"):
        for first, second in zip(model.weights, again.weights, strict=True):
            assert np.array_equal(values(first.value), values(second.value))
    model.save_weights(tmp_path / "w.weights.h5")
    again.load_weights(tmp_path / "w.weights.h5")
    assert np.array_equal(values(model(batch)), values(again(batch)))


# Particularities of each backend


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_variance_follows_the_formula(dtype):
    for initializer, kurtosis in ((adapter.HeNormal(seed=1), 2.3655367), (adapter.HeUniform(seed=1), 1.8)):
        drawn = values(initializer((1024, 1024), dtype))
        wanted = (2 / 1024) ** 0.5
        assert abs(drawn.mean()) < 7.13 * wanted / 1024
        assert abs(drawn.std() / wanted - 1) < 7.13 * (kurtosis - 1) ** 0.5 / 2 / 1024


@pytest.mark.parametrize("given", ["name", "numpy", "backend"])
def test_dtypes_and_shapes_of_the_backend_are_accepted(given):
    dtype = {"name": "float16", "numpy": np.float16, "backend": keras.ops.ones((), "float16").dtype}[given]
    shape = keras.ops.ones((4, 5)).shape  # a TensorShape, a torch.Size or a tuple
    weight = adapter.HeNormal(seed=1)(shape=shape, dtype=dtype)
    assert equal(weight, initlib.he_normal((4, 5), "float16", seed=1))


def test_the_documentation_runs():
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    done = doctest.testmod(adapter, optionflags=flags, extraglobs={"keras": keras, "initlib": initlib})
    assert done.failed == 0
    assert done.attempted > 10


@only["torch"]
def test_pytorch_takes_over_the_memory_of_the_draw(monkeypatch):
    import torch

    held = []
    from_numpy = torch.from_numpy
    monkeypatch.setattr(torch, "from_numpy", lambda array: held.append(array.ctypes.data) or from_numpy(array))
    for dtype in ("float32", "bfloat16"):
        assert adapter.HeNormal(seed=1)((64, 64), dtype).data_ptr() == held[-1]


@only["tensorflow"]
@pytest.mark.parametrize("xla", [False, True])
def test_in_a_graph_an_int_is_a_constant(xla):
    function = tf.function(lambda: adapter.HeNormal(seed=5)((4, 5), "bfloat16"), jit_compile=xla)
    assert equal(function(), initlib.he_normal((4, 5), "bfloat16", seed=5))


@only["tensorflow"]
def test_in_a_graph_a_generator_advances_at_every_run():
    initializer = adapter.HeNormal(seed=keras.random.SeedGenerator(5), name="a")
    function = tf.function(lambda: initializer((4, 5)))
    for call in range(3):
        assert equal(function(), initlib.he_normal((4, 5), seed=Key(5).fold_in(call), name="a"))
    assert function.get_concrete_function().outputs[0].shape == (4, 5)


@only["tensorflow"]
def test_a_layer_can_be_built_in_a_graph():
    for seed, key in ((5, 5), (keras.random.SeedGenerator(5), Key(5).fold_in(0))):
        layer = keras.layers.Dense(5, kernel_initializer=adapter.HeNormal(seed=seed))
        tf.function(lambda x, layer=layer: layer(x))(tf.ones((2, 4)))
        assert equal(layer.kernel.value, initlib.he_normal((4, 5), seed=key))


@only["tensorflow"]
def test_every_replica_has_the_weights():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for seed, key in ((5, 5), (keras.random.SeedGenerator(5), Key(5).fold_in(0))):
        with strategy.scope():
            layer = keras.layers.Dense(5, kernel_initializer=adapter.HeNormal(seed=seed))
            layer.build((None, 4))
        replicas = strategy.experimental_local_results(layer.kernel.value)
        assert len(replicas) == 2
        for replica in replicas:
            assert equal(replica, initlib.he_normal((4, 5), seed=key))


def jitted(initializer, shape, sharding=None):
    """Return a function that calls the initializer as Keras does for a large sharded variable."""
    import jax

    placed = {} if sharding is None else {"out_shardings": sharding}
    function = jax.jit(initializer.__call__, static_argnames=["shape", "dtype"], **placed)
    return function.lower(shape=shape, dtype="float32").compile()


@only["jax"]
@pytest.mark.parametrize("case", RANDOM)
def test_jit_draws_the_same_weights(case):
    make, core = RANDOM[case]
    weight = jitted(make(seed=5, name="a", axes="...OI"), (3, 3, 16, 8))()
    expected = core((3, 3, 16, 8), seed=5, name="a", axes="...OI")
    if case in ELEMENTWISE and not getattr(core, "mean", 0) and case != "RandomUniform":
        assert equal(weight, expected)
    else:  # a mean is added in a second rounding, and a QR is of another library
        np.testing.assert_allclose(values(weight), expected, rtol=1e-6, atol=2e-6)


@only["jax"]
def test_a_generator_may_have_a_traced_state():
    import jax

    generator = keras.random.SeedGenerator(5)
    initializer = adapter.HeNormal(seed=generator, name="a")

    @jax.jit
    def draw_two(state):
        with keras.StatelessScope(state_mapping=[(generator.state, state)]) as scope:
            first, second = initializer((4, 5)), initializer((4, 5))
        return first, second, scope.get_current_value(generator.state)

    first, second, state = draw_two(generator.state.value)
    assert equal(first, initlib.he_normal((4, 5), seed=Key(5).fold_in(0), name="a"))
    assert equal(second, initlib.he_normal((4, 5), seed=Key(5).fold_in(1), name="a"))
    assert state.tolist() == [5, 2]
    assert generator.state.value.tolist() == [5, 0]


@only["jax"]
def test_a_generator_in_a_closure_stays_concrete():
    generator = keras.random.SeedGenerator(5)
    weight = jitted(adapter.HeNormal(seed=generator), (4, 5))()
    assert equal(weight, initlib.he_normal((4, 5), seed=Key(5).fold_in(0)))
    assert generator.state.value.tolist() == [5, 1]


@only["jax"]
def test_variables_can_be_made_in_a_stateless_scope():
    with keras.StatelessScope():
        variable = keras.Variable(adapter.HeNormal(seed=5), shape=(4, 5))
        assert equal(variable.value, initlib.he_normal((4, 5), seed=5))
        assert equal(variable.value, initlib.he_normal((4, 5), seed=5))


@only["jax"]
@pytest.mark.parametrize("shape", [(64, 32), (8, 3, 16, 8)])
def test_each_device_draws_only_its_shard(shape):
    import jax

    mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(4, 2), ("a", "b"))
    expected = initlib.he_normal(shape, seed=5)
    last = len(shape) - 1
    for where in ({last: "a"}, {0: "a", last: "b"}, {0: ("b", "a")}):
        spec = jax.sharding.PartitionSpec(*(where.get(axis) for axis in range(len(shape))))
        program = jitted(adapter.HeNormal(seed=5), shape, jax.sharding.NamedSharding(mesh, spec))
        weight = program()
        assert weight.sharding.spec == spec
        assert equal(weight, expected)
        memory = program.memory_analysis()
        shard = weight.addressable_shards[0].data.nbytes
        assert memory.output_size_in_bytes == shard
        assert memory.temp_size_in_bytes < shard
        text = program.as_text()
        assert not any(word in text for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute"))


@only["jax"]
@pytest.mark.parametrize("shape", [(64, 32), (4096, 2048)], ids=["small", "large"])  # Keras jits above 250 MiB
def test_sharded_variables_have_the_bits_of_one_device(shape):
    mesh = keras.distribution.DeviceMesh((4, 2), ("batch", "model"))
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*kernel"] = keras.distribution.TensorLayout(["batch", "model"])
    others = () if shape[0] > 64 else (adapter.get(initlib.he_normal * 2), initlib.he_normal)
    for initializer in (adapter.HeNormal(seed=5), *others):
        with keras.distribution.ModelParallel(layout_map=layout).scope():
            variable = keras.Variable(initializer, shape=shape, dtype="float32", name="kernel")
        assert {shard.data.shape for shard in variable.value.addressable_shards} == {(shape[0] // 4, shape[1] // 2)}
        if isinstance(initializer, adapter.HeNormal):
            assert equal(variable.value, initlib.he_normal(shape, seed=5))


@only["torch"]
def test_compiled_functions_draw_outside_of_the_graph():
    import torch

    for seed, key in ((5, Key(5)), (keras.random.SeedGenerator(5), Key(5).fold_in(0))):
        torch._dynamo.reset()
        initializer = adapter.HeNormal(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            drawn = torch.compile(lambda: initializer((4, 5)) + 0, backend="eager")()  # noqa: B023
        assert equal(drawn, initlib.he_normal((4, 5), seed=key))


@pytest.mark.parametrize("name", ["gelu", "silu", "relu", "tanh", "selu"])
def test_the_gain_of_an_activation_of_keras(name):
    activation = getattr(keras.activations, name)
    assert initlib.gain(activation) == pytest.approx(initlib.gain(name), rel=1e-6)
    assert initlib.gain(keras.layers.Activation(activation)) == pytest.approx(initlib.gain(name), rel=1e-6)

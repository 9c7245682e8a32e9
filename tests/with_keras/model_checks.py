"""Checks of plans and `initialize` on the Keras backend of this process; `test_backends.py` runs them."""

import ast
import inspect
import os
import re
import textwrap
import warnings

import keras
import numpy as np
import pytest
from checkpoints import save
from keras import layers

import initlib
from initlib import (
    PlanError,
    glorot_uniform,
    he_normal,
    keep,
    loaded,
    normal,
    orthogonal,
    parts,
    rotary_frequencies,
    sinusoidal,
    zeros,
)
from initlib.adapters import keras as adapter

BACKEND = keras.backend.backend()
assert os.environ["KERAS_BACKEND"] == BACKEND
pytestmark = pytest.mark.filterwarnings(
    # of Keras's own conversions, with NumPy 2.5, and of its own dtypes
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
    "ignore:Layer InputLayer does not have a `quantize` method:UserWarning",
)
only = {name: pytest.mark.skipif(name != BACKEND, reason=f"of {name}") for name in ("jax", "tensorflow", "torch")}


def values(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor)).astype(np.float64)


def weights_of(model):
    """Return the values of a model's variables, in Keras's order."""
    return [values(variable) for variable in model.weights]


def by_name(model):
    """Return the variables of a model, by the names of its plan."""
    from initlib.adapters.keras.models.tensors import weights

    return {weight.names[0]: weight.variable for weight in weights(model)}


def check(model, plan, seed=0):
    """Check that every variable holds the weights that the plan draws in NumPy."""
    drawn = plan.draw(seed)
    named = by_name(model)
    assert set(named) == {entry.parameter.name for entry in plan.entries}
    for name, array in drawn.items():
        assert np.array_equal(values(named[name]), array.astype(np.float64)), name
    return drawn


def sequential(*inner, shape=(6,)):
    return keras.Sequential([keras.Input(shape), *inner])


# Layers: how each class with weights is made, the shapes of its inputs, and for some variables, by hand, the axes, the
# fans and, where Keras has the fans right, whether the standard deviation is the one of Keras's own formula.


def model_of(layer, *shapes):
    inputs = [keras.Input(shape) for shape in shapes]
    return keras.Model(inputs, layer(*inputs) if len(inputs) < 2 or isinstance(layer, PAIRED) else layer(inputs))


PAIRED = (layers.MultiHeadAttention, layers.GroupQueryAttention)
LINE, IMAGE, VOLUME = (8, 6), (8, 8, 6), (8, 8, 8, 6)
FILM = {1: (3, 8, 6), 2: (3, 8, 8, 6), 3: (2, 8, 8, 8, 6)}

LAYERS = {
    "AdditiveAttention": (lambda: layers.AdditiveAttention(), (LINE, LINE), {}),
    "Attention": (lambda: layers.Attention(use_scale=True, score_mode="concat"), (LINE, LINE), {}),
    "BatchNormalization": (layers.BatchNormalization, (LINE,), {}),
    "Bidirectional": (
        lambda: layers.Bidirectional(layers.LSTM(4)),
        (LINE,),
        {
            "forward_lstm.lstm_cell.kernel": ("I(4 O)", 6, 4),
            "backward_lstm.lstm_cell.recurrent_kernel": ("I(4 O)", 4, 4),
        },
    ),
    "Conv1D": (lambda: layers.Conv1D(8, 3), (LINE,), {"kernel": ("WIO", 18, 24)}),
    "Conv2D": (lambda: layers.Conv2D(8, 3, groups=2), (IMAGE,), {"kernel": ("HWI(2 O)", 27, 36)}),
    "Conv3D": (lambda: layers.Conv3D(8, 3), (VOLUME,), {"kernel": ("DHWIO", 162, 216)}),
    "Conv1DTranspose": (lambda: layers.Conv1DTranspose(8, 3), (LINE,), {"kernel": ("WOI", 18, 24)}),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(8, 3), (IMAGE,), {"kernel": ("HWOI", 54, 72)}),
    "Conv3DTranspose": (lambda: layers.Conv3DTranspose(8, 3), (VOLUME,), {"kernel": ("DHWOI", 162, 216)}),
    "ConvLSTM1D": (
        lambda: layers.ConvLSTM1D(4, 3),
        (FILM[1],),
        {"conv_lstm_cell.kernel": ("WI(4 O)", 18, 12), "conv_lstm_cell.recurrent_kernel": ("WI(4 O)", 12, 12)},
    ),
    "ConvLSTM2D": (lambda: layers.ConvLSTM2D(4, 3), (FILM[2],), {"conv_lstm_cell.kernel": ("HWI(4 O)", 54, 36)}),
    "ConvLSTM3D": (lambda: layers.ConvLSTM3D(4, 3), (FILM[3],), {"conv_lstm_cell.kernel": ("DHWI(4 O)", 162, 108)}),
    "Dense": (lambda: layers.Dense(4), (LINE,), {"kernel": ("IO", 6, 4)}),
    "DepthwiseConv1D": (lambda: layers.DepthwiseConv1D(3, depth_multiplier=2), (LINE,), {"kernel": ("WBO", 3, 6)}),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(3), (IMAGE,), {"kernel": ("HWBO", 9, 9)}),
    "EinsumDense": (
        lambda: layers.EinsumDense("btd,dnh->btnh", (None, 2, 4), bias_axes="nh"),
        (LINE,),
        {"kernel": ("IOO", 6, 8)},
    ),
    "Embedding": (lambda: layers.Embedding(10, 4), ((8,),), {"embeddings": ("IO", 10, 4)}),
    "GRU": (
        lambda: layers.GRU(4),
        (LINE,),
        {"gru_cell.kernel": ("I(3 O)", 6, 4), "gru_cell.recurrent_kernel": ("I(3 O)", 4, 4)},
    ),
    "GRUCell": (lambda: layers.RNN(layers.GRUCell(4)), (LINE,), {"gru_cell.kernel": ("I(3 O)", 6, 4)}),
    "GroupNormalization": (lambda: layers.GroupNormalization(2), (LINE,), {}),
    "GroupQueryAttention": (
        lambda: layers.GroupQueryAttention(4, 4, 2),
        (LINE, LINE),
        {"query.kernel": ("IOO", 6, 16), "key.kernel": ("IOO", 6, 8), "attention_output.kernel": ("IIO", 16, 6)},
    ),
    "LSTM": (lambda: layers.LSTM(4), (LINE,), {"lstm_cell.kernel": ("I(4 O)", 6, 4)}),
    "LSTMCell": (lambda: layers.RNN(layers.LSTMCell(4)), (LINE,), {"lstm_cell.kernel": ("I(4 O)", 6, 4)}),
    "LayerNormalization": (lambda: layers.LayerNormalization(axis=(1, 2)), (LINE,), {}),
    "MultiHeadAttention": (
        lambda: layers.MultiHeadAttention(2, 3, value_dim=5),
        (LINE, LINE),
        {"query.kernel": ("IOO", 6, 6), "value.kernel": ("IOO", 6, 10), "attention_output.kernel": ("IIO", 10, 6)},
    ),
    "Normalization": (layers.Normalization, (LINE,), {}),
    "PReLU": (layers.PReLU, (LINE,), {}),
    "RMSNormalization": (layers.RMSNormalization, (LINE,), {}),
    "RNN": (lambda: layers.RNN([layers.GRUCell(4), layers.SimpleRNNCell(3)]), (LINE,), {}),
    "ReversibleEmbedding": (
        lambda: layers.ReversibleEmbedding(10, 4, tie_weights=False),
        ((8,),),
        {"embeddings": ("IO", 10, 4), "reverse_embeddings": ("IO", 4, 10)},
    ),
    "STFTSpectrogram": (lambda: layers.STFTSpectrogram("stft", 8, 4, 8), ((64, 1),), {}),
    "SeparableConv1D": (
        lambda: layers.SeparableConv1D(8, 3, depth_multiplier=2),
        (LINE,),
        {"depthwise_kernel": ("WBO", 3, 6), "pointwise_kernel": ("WIO", 12, 8)},
    ),
    "SeparableConv2D": (
        lambda: layers.SeparableConv2D(8, 3),
        (IMAGE,),
        {"depthwise_kernel": ("HWBO", 9, 9), "pointwise_kernel": ("HWIO", 6, 8)},
    ),
    "SimpleRNN": (
        lambda: layers.SimpleRNN(4),
        (LINE,),
        {"simple_rnn_cell.kernel": ("IO", 6, 4), "simple_rnn_cell.recurrent_kernel": ("IO", 4, 4)},
    ),
    "SimpleRNNCell": (lambda: layers.RNN(layers.SimpleRNNCell(4)), (LINE,), {"simple_rnn_cell.kernel": ("IO", 6, 4)}),
    "SpectralNormalization": (lambda: layers.SpectralNormalization(layers.Dense(3)), (LINE,), {}),
    "StackedRNNCells": (lambda: layers.RNN(layers.StackedRNNCells([layers.GRUCell(4)])), (LINE,), {}),
    "TimeDistributed": (lambda: layers.TimeDistributed(layers.Dense(3)), (LINE,), {"dense.kernel": ("IO", 6, 3)}),
}
ALIASES = {"GroupedQueryAttention": "GroupQueryAttention"} | {
    alias: alias.replace("Convolution", "Conv") for alias in dir(layers) if "Convolution" in alias
}
# Tables of words, which are no weights; and layers whose weights other frameworks have made.
NONE = {"IntegerLookup", "StringLookup", "TextVectorization"}
FOREIGN = {"FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"}


def calls(cls):
    """Return the names that the methods of a class, and of its bases below Layer, call."""
    of_keras = [base for base in cls.__mro__ if issubclass(base, layers.Layer) and base is not layers.Layer]
    trees = (ast.parse(textwrap.dedent(inspect.getsource(base))) for base in of_keras)
    called = [node.func for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {getattr(function, "attr", getattr(function, "id", None)) for function in called}


def test_every_layer_with_weights_is_known():
    """A class has weights if it adds weights, or makes a layer of a class with weights."""
    classes = {
        name: cls for name, cls in vars(layers).items() if inspect.isclass(cls) and issubclass(cls, layers.Layer)
    }
    called = {name: calls(cls) for name, cls in classes.items()}
    makers, weighted = {"add_weight", "Variable", "_track_variable"}, set()
    while callers := {name for name in called if name not in weighted and called[name] & (makers | weighted)}:
        weighted |= callers
    weighted = {ALIASES.get(name, name) for name in weighted}
    assert len(weighted) > 40
    assert {"Dense", "MultiHeadAttention", "ConvLSTM2D", "SpectralNormalization"} <= weighted
    assert weighted <= set(LAYERS) | NONE | FOREIGN, "new layers of Keras"


@pytest.mark.parametrize("name", LAYERS)
def test_layers_have_known_axes_and_fans(name):
    make, shapes, expected = LAYERS[name]
    model = model_of(make(), *shapes)
    before = {path: values(variable) for path, variable in by_name(model).items()}
    plan = adapter.initialize(model, seed=0)
    assert len(plan.entries) == len({id(variable) for variable in model.weights}) > 0
    drawn = check(model, plan)
    assert isinstance(model.layers[-1], getattr(layers, name)) or name.endswith(("Cell", "Cells"))
    for entry in plan.entries:
        path, initializer = entry.parameter.name, entry.filling
        if entry.kept or path not in drawn:
            assert path.rpartition(".")[2] in ("mean", "variance", "count")
            continue
        if drawn[path].std() < 1e-6 or before[path].ndim < 2 or initializer == zeros:  # vectors, norms
            assert np.array_equal(before[path], drawn[path]) or "additive" in path, path
        else:
            assert not np.array_equal(before[path], drawn[path]) or "stft" in path, path
    rows = {row["name"].split(".", 1)[1]: row for row in plan.to_dicts()}
    for path, (axes, fan_in, fan_out) in expected.items():
        row = rows[path]
        assert (row["axes"], row["fan_in"], row["fan_out"]) == (axes, fan_in, fan_out)
        assert initlib.fans(row["shape"], axes) == (fan_in, fan_out)


@pytest.mark.parametrize(
    "name", ["Conv1D", "Conv3D", "Dense", "EinsumDense", "GroupQueryAttention", "MultiHeadAttention", "SimpleRNN"]
)
def test_distributions_are_those_of_keras_where_its_fans_are_right(name):
    make, shapes, _ = LAYERS[name]
    plan = adapter.plan(model_of(make(), *shapes))
    checked = 0
    for entry in plan.entries:
        if entry.filling == glorot_uniform:
            shape, axes = entry.parameter.shape, entry.parameter.axes
            places = {letter: [i for i, each in enumerate(axes) if each == letter] for letter in "IO"}
            heads = (
                {"input_axes": places["I"], "output_axes": places["O"]} if axes.count("I") + axes.count("O") > 2 else {}
            )
            limit = np.abs(values(keras.initializers.GlorotUniform(seed=0, **heads)(shape))).max()
            bound = glorot_uniform.bounds(shape, axes)[1]
            assert 0.9 * bound < limit <= bound * (1 + 1e-6)
            checked += 1
    assert checked


@pytest.mark.parametrize("name", LAYERS)
def test_a_default_fills_only_kernels(name):
    make, shapes, _ = LAYERS[name]
    model = model_of(make(), *shapes)
    plan = adapter.initialize(model, he_normal, seed=3)
    check(model, plan, 3)
    for entry in plan.entries:
        kind = entry.parameter.kind
        expected = {"kernel": he_normal, "table": normal(std=0.02), "recurrent": orthogonal()}
        if kind in expected:
            assert entry.filling == expected[kind]
        else:
            assert entry.filling != he_normal


@pytest.mark.parametrize(
    ("initializer", "core"),
    [
        ("glorot_normal", initlib.glorot_normal),
        ("he_uniform", initlib.he_uniform),
        (keras.initializers.VarianceScaling(1.5, "fan_out", "untruncated_normal"), None),
        (keras.initializers.RandomNormal(0.5, 0.1, seed=3), normal(0.5, 0.1)),
        (keras.initializers.RandomUniform(-1, 2), initlib.uniform(-1, 2)),
        (keras.initializers.TruncatedNormal(stddev=0.1), initlib.truncated_normal(std=0.1)),
        (keras.initializers.Orthogonal(2.0, seed=keras.random.SeedGenerator(3)), orthogonal(2.0)),
        (keras.initializers.Identity(0.5), initlib.identity(0.5)),
        (keras.initializers.Constant(0.25), initlib.constant(0.25)),
        ("zeros", zeros),
        ("ones", initlib.ones),
        (adapter.HeNormal(seed=9, name="not.used"), he_normal),
        (adapter.CoreInitializer(initlib.sparse(0.5)), initlib.sparse(0.5)),
        (initlib.siren(), initlib.siren()),
    ],
    ids=str,
)
def test_a_layer_keeps_its_own_initializer(initializer, core):
    model = sequential(layers.Dense(6, kernel_initializer=initializer))
    plan = adapter.initialize(model, seed=0)
    core = core or initlib.variance_scaling(1.5, "fan_out", "normal")
    assert plan["dense.kernel"].filling == core
    assert np.array_equal(values(model.layers[0].kernel), core((6, 6), seed=0, name="dense.kernel"))


def test_an_initializer_may_state_axes():
    kernel = adapter.HeNormal(axes="OI", seed=1)
    assert adapter.plan(sequential(layers.Dense(3, kernel_initializer=kernel)))["dense.kernel"].parameter.axes == "OI"


def test_an_initializer_of_the_user_s_own_class_is_not_known():
    class Own(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return keras.random.normal(shape, dtype=dtype) if len(shape) > 1 else keras.ops.ones(shape, dtype)

    model = sequential(layers.Dense(3, kernel_initializer=Own(), bias_initializer=Own()))
    with pytest.raises(PlanError, match=r"dense\.kernel: no rule matches, and Dense states no initializer") as error:
        adapter.initialize(model, seed=0)
    assert len(error.value.problems) == 1  # all weights of the bias are 1
    plan = adapter.initialize(model, he_normal, seed=0)
    assert plan["dense.bias"].filling == initlib.ones
    model.layers[0].bias.assign([1.0, 2.0, 3.0])
    assert adapter.initialize(model, he_normal, seed=0)["dense.bias"].filling == initlib.ones  # as it was built


def test_the_bias_of_the_forget_gate_is_1():
    model = sequential(layers.LSTM(4), shape=LINE)
    adapter.initialize(model, seed=0)
    assert values(model.weights[2]).tolist() == [0] * 4 + [1] * 4 + [0] * 8
    model = sequential(layers.LSTM(4, unit_forget_bias=False), shape=LINE)
    adapter.initialize(model, {"*:bias": initlib.constant(2)}, seed=0)
    assert set(values(model.weights[2])) == {2}


# Names


def test_automatic_names_are_numbered_by_their_place():
    def made():
        return sequential(
            layers.Dense(4), layers.Dense(3, name="mine"), layers.BatchNormalization(), layers.Dense(2, name="dense_9")
        )

    names = {
        "dense": ["kernel", "bias"],
        "mine": ["kernel", "bias"],
        "batch_normalization": ["gamma", "beta", "moving_mean", "moving_variance"],
        "dense_1": ["kernel", "bias"],
    }
    first, second = made(), made()
    assert [variable.path for variable in first.weights] != [variable.path for variable in second.weights]
    for model in (first, second):
        plan = adapter.initialize(model, seed=5)
        assert list(by_name(model)) == [f"{layer}.{name}" for layer, each in names.items() for name in each]
        assert plan["dense_1.kernel"].parameter.shape == (3, 2)
    for one, other in zip(weights_of(first), weights_of(second), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (("block_0", "block_1", "block_2"), ("block_0", "block_1", "block_2")),  # no automatic name ends in _0
        (("block_00", "block_01"), ("block_00", "block_01")),
        (("block_1", "block_0"), ("block_1", "block_0")),
        (("block_7", "block_8"), ("block", "block_1")),  # as the 8th and 9th of a process are called
        (("block_1", "block"), ("block", "block_1")),
        (("block_a_0", "block_3"), ("block_a_0", "block")),
        (("dense_0", "block_3"), ("dense_0", "block")),  # of another class
    ],
)
def test_numbers_in_names_of_the_user_stay(given, names):
    class Block(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.inner = layers.Dense(6, name="inner")

        def call(self, x):
            return self.inner(x)

    model = sequential(*(Block(name=name) for name in given))
    adapter.initialize(model, he_normal, seed=0)
    assert list(by_name(model))[::2] == [f"{name}.inner.kernel" for name in names]
    for layer, name in zip(model.layers, names, strict=True):
        assert np.array_equal(values(layer.inner.kernel), he_normal((6, 6), seed=0, name=f"{name}.inner.kernel"))


def test_names_are_paths():
    model = keras.Sequential([keras.Input(LINE), *(layers.Dense(6, name=name) for name in ("a", "b"))], name="model")
    model.add(layers.Bidirectional(layers.GRU(3), name="two"))
    paths = [variable.path.removeprefix("model/").replace("/", ".") for variable in model.weights]
    assert [re.sub(r"gru_\d+", "gru", path) for path in paths] == list(by_name(model))


def test_names_that_appear_twice_are_numbered():
    class Twice(layers.Layer):
        def build(self, shape):
            self.one = self.add_weight(name="w", shape=(2, 3), initializer="ones")
            self.two = self.add_weight(name="w", shape=(2, 3), initializer="ones")
            self.three = self.add_weight(shape=(2, 3))
            self.inner = [layers.Dense(2, name="x"), layers.Dense(2, name="x")]
            for layer in self.inner:
                layer.build(shape)

        def call(self, x):
            return self.inner[1](self.inner[0](x))

    layer = Twice()
    layer.build((None, 2))
    assert list(by_name(layer)) == ["w", "w_1", "variable", "x.kernel", "x.bias", "x_1.kernel", "x_1.bias"]
    plan = adapter.initialize(layer, normal(), seed=0)
    check(layer, plan)


def test_rename_applies_before_rules():
    model = sequential(layers.Dense(4, name="up"), layers.Dense(6, name="down"))
    plan = adapter.initialize(
        model, {"mlp.w2": zeros}, 7, default=he_normal, rename={"up.kernel": "mlp.w1", "down.kernel": "mlp.w2"}
    )
    assert np.array_equal(values(model.layers[0].kernel), he_normal((6, 4), seed=7, name="mlp.w1"))
    assert not values(model.layers[1].kernel).any()
    assert plan["down.kernel"].stream == "mlp.w2"


def test_fused_weights_have_the_bits_of_split_weights():
    model = sequential(layers.Dense(12, name="qkv"))
    fused = {"qkv.kernel": parts({"q.kernel": 1, "k.kernel": 1, "v.kernel": 1}, glorot_uniform, axis=1, replaces=2)}
    adapter.initialize(model, fused, seed=0)
    for i, name in enumerate("qkv"):
        alone = glorot_uniform((6, 4), seed=0, name=f"{name}.kernel")
        assert np.array_equal(values(model.layers[0].kernel)[:, 4 * i : 4 * i + 4], alone)
    with pytest.raises(PlanError, match=r"qkv\.kernel: no rule matches, and there is no default"):
        adapter.plan(model, {"qkv.kernel": parts({"q.kernel": 1, "k.kernel": 2}, axis=1, replaces=2)})


# Models


class Subclassed(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.first = layers.Dense(6)
        self.blocks = [layers.Dense(6) for _ in range(2)]
        self.inner = inner
        self.by_key = {"head": layers.Dense(2, name="head")}
        self.drop = layers.Dropout(0.5)
        self.free = self.add_weight(shape=(6,), initializer="ones", name="free")

    def call(self, x):
        for layer in (self.first, *self.blocks, *self.blocks, self.drop, self.inner):
            x = layer(x)
        return self.by_key["head"](x * self.free)


def nested():
    inner = sequential(layers.Dense(6), layers.LayerNormalization())
    model = Subclassed(inner)
    model(np.ones((2, 6), "float32"))
    return model


def test_nested_and_subclassed_models_are_filled():
    model = nested()
    plan = adapter.initialize(model, seed=0)
    check(model, plan)
    kernels = ["dense", "dense_1", "dense_2", "sequential.dense", "head"]
    assert [name for name in by_name(model) if name.endswith("kernel")] == [f"{name}.kernel" for name in kernels]
    assert plan["free"].filling == initlib.ones
    assert adapter.plan(model.inner).entries[0].parameter.name == "dense.kernel"


def test_functional_models_may_be_nested():
    inner = keras.Model(x := keras.Input((6,)), layers.Dense(6, name="same")(x), name="encoder")
    outputs = layers.Dense(2, name="same")(inner(inner(y := keras.Input((6,)))))
    model = keras.Model(y, outputs)
    assert list(by_name(model)) == ["encoder.same.kernel", "encoder.same.bias", "same.kernel", "same.bias"]
    check(model, adapter.initialize(model, he_normal, seed=0))


def test_tied_weights_stay_tied():
    class Tied(keras.Model):
        def __init__(self):
            super().__init__()
            self.embed = layers.Embedding(7, 4, name="embed")
            self.embed.build(None)
            self.again = layers.Dense(4, name="again")
            self.once_more = self.again
            self.table = self.embed.embeddings

        def call(self, x):
            return keras.ops.matmul(self.once_more(self.again(self.embed(x))), keras.ops.transpose(self.table))

    model = Tied()
    model(np.zeros((1, 3), "int32"))
    plan = adapter.initialize(model, he_normal, seed=0)
    assert plan["embed.embeddings"].parameter.tied == ("embeddings",)
    assert plan["embeddings"] is plan["embed.embeddings"]
    assert len(plan.entries) == 3
    check(model, plan)


def test_a_single_layer_can_be_initialized():
    layer = layers.Dense(3)
    layer.build((None, 6))
    adapter.initialize(layer, he_normal, seed=0)
    assert np.array_equal(values(layer.kernel), he_normal((6, 3), seed=0, name="kernel"))


# Keras takes most of a minute to build a large one on JAX.
@pytest.mark.parametrize("name", ["MobileNet", *(["EfficientNetB0", "ConvNeXtTiny"] if BACKEND == "torch" else [])])
def test_networks_of_keras_applications_are_filled(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3), classes=10)
    plan = adapter.initialize(model, seed=0)
    check(model, plan)
    depthwise = [entry for entry in plan.entries if entry.parameter.owner == "DepthwiseConv2D"]
    assert all(initlib.fans(entry.parameter.shape, entry.parameter.axes)[0] < 50 for entry in depthwise)
    assert all(np.isfinite(values(variable)).all() for variable in model.weights)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes_of_variables_are_kept(dtype):
    model = sequential(layers.Dense(4, dtype=dtype), layers.Conv1D(3, 2, dtype=dtype), shape=LINE)
    plan = adapter.initialize(model, seed=0)
    assert {entry.parameter.dtype for entry in plan.entries} == {dtype}
    check(model, plan)


def test_mixed_precision_is_supported():
    model = sequential(layers.Dense(4, dtype="mixed_bfloat16"))
    plan = adapter.initialize(model, seed=0)
    assert plan["dense.kernel"].parameter.dtype == "float32"
    check(model, plan)


def test_kept_weights_and_parts_stay():
    model = sequential(layers.Dense(4, name="old"), layers.Dense(4, name="new"))
    before = weights_of(model)
    half = parts({"new.kernel": (1, keep), "other.kernel": (1, he_normal)}, axis=1, replaces=2)
    adapter.initialize(model, {"old.*": keep, "new.kernel": half}, seed=0)
    after = weights_of(model)
    assert np.array_equal(before[0], after[0])
    assert np.array_equal(before[2][:, :2], after[2][:, :2])
    assert np.array_equal(after[2][:, 2:], he_normal((4, 2), seed=0, name="other.kernel"))


def test_only_and_prefix_select_and_name_weights():
    model = sequential(layers.Dense(4, name="old"), layers.Dense(4, name="new"))
    model.layers[0].trainable = False  # unselected layers may be frozen
    before = weights_of(model)
    plan = adapter.initialize(model, he_normal, 0, only="*.new.*", prefix="decoder")
    after = weights_of(model)
    assert np.array_equal(before[0], after[0])
    assert np.array_equal(after[2], he_normal((4, 4), seed=0, name="decoder.new.kernel"))
    assert plan["decoder.old.kernel"].notes == ("not selected by only",)
    with pytest.raises(
        ValueError, match=r"only must name modules or parameters, got 'new\.kernl'; nearest names: new\.kernel"
    ):
        adapter.plan(model, he_normal, only=["new.kernl"])


def test_training_state_is_kept():
    model = sequential(layers.Dense(4), layers.Dropout(0.5, seed=3), layers.BatchNormalization(), layers.Dense(1))
    model.compile("adam", "mse", metrics=["mae"])
    inputs = np.random.default_rng(0).standard_normal((8, 6)).astype("float32")
    model.fit(inputs, inputs[:, :1], epochs=2, verbose=0)
    weighted = {id(variable) for variable in model.weights}
    others = [v for v in [*model.variables, *model.optimizer.variables] if id(v) not in weighted]
    before = [values(variable) for variable in others]
    assert len(others) > 5
    plan = adapter.initialize(model, seed=0)
    check(model, plan)
    for value, variable in zip(before, others, strict=True):
        assert np.array_equal(value, values(variable))
    assert set(values(model.layers[2].moving_mean)) == {0}
    assert set(values(model.layers[2].moving_variance)) == {1}
    model.fit(inputs, inputs[:, :1], epochs=1, verbose=0)


def test_statistics_are_never_drawn():
    data = np.random.default_rng(0).standard_normal((100, 6)).astype("float32")
    known = layers.Normalization()
    known.adapt(data)
    model = sequential(known, layers.Dense(2), layers.BatchNormalization())
    mean = values(known.mean)
    adapter.initialize(model, normal(), seed=0)
    assert np.array_equal(values(known.mean), mean)
    assert mean.any()
    with pytest.raises(PlanError, match="running statistics and states of optimizers cannot be drawn") as error:
        adapter.initialize(model, {"*.count": keep, "*": normal()}, seed=0)
    assert [problem.split(":")[0] for problem in error.value.problems] == [
        "normalization.mean",
        "normalization.variance",
        "batch_normalization.moving_mean",
        "batch_normalization.moving_variance",
    ]
    adapter.initialize(model, {"*:buffer": keep, "*": normal()}, seed=0)


def test_tables_and_buffers_are_set_by_functions_of_the_index():
    class Rotary(layers.Layer):
        def build(self, shape):
            self.table = self.add_weight(shape=(6, 4), name="table", initializer=adapter.CoreInitializer(sinusoidal()))
            self.inv_freq = self.add_weight(shape=(8,), name="inv_freq", trainable=False)

        def call(self, inputs):
            return inputs

    model = sequential(layers.Dense(6), Rotary())
    table = sinusoidal()((6, 4))
    assert np.array_equal(values(model.layers[-1].table), table)
    adapter.initialize(model, {"*.inv_freq:buffer": rotary_frequencies(), "*.table": sinusoidal() * 0.5}, seed=0)
    assert np.array_equal(values(model.layers[-1].table), table * np.float32(0.5))
    assert np.array_equal(values(model.layers[-1].inv_freq), rotary_frequencies()(8))


def two_layers():
    dense = [layers.Dense(4, use_bias=False, name=name) for name in "ab"]
    return keras.Sequential([keras.Input((4,)), *dense])


def test_variables_of_another_model_are_a_source():
    old, new = two_layers(), two_layers()
    swapped = {f"{one}.kernel": loaded(by_name(old), f"{two}.kernel") for one, two in ("ab", "ba")}
    adapter.initialize(new, swapped, seed=0)
    assert all(map(np.array_equal, weights_of(new), reversed(weights_of(old))))


@pytest.mark.parametrize("of", ["variables", "values"])
def test_a_model_is_not_read_while_it_is_written(of):
    model = two_layers()
    before = weights_of(model)
    old = {name: variable if of == "variables" else variable.value for name, variable in by_name(model).items()}
    swapped = {f"{one}.kernel": loaded(old, f"{two}.kernel") for one, two in ("ab", "ba")}
    if BACKEND == "jax" and of == "values":  # arrays of JAX do not change
        adapter.initialize(model, swapped, seed=0)
        assert all(map(np.array_equal, weights_of(model), reversed(before)))
        return
    with pytest.raises(
        PlanError, match=r"must not share memory with the model, because the fill overwrites it\. Pass copies"
    ):
        adapter.initialize(model, swapped, seed=0)
    assert all(map(np.array_equal, weights_of(model), before))


def test_models_can_be_saved_and_loaded(tmp_path):
    model = keras.Sequential(
        [keras.Input(LINE), layers.Dense(6), layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)]
    )
    plan = adapter.initialize(model, he_normal, seed=0)
    inputs = np.ones((2, *LINE), "float32")
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    check(loaded, plan)
    assert np.array_equal(values(loaded(inputs)), values(model(inputs)))
    assert adapter.plan(loaded, he_normal) == plan  # names do not depend on what was made before
    adapter.initialize(loaded, he_normal, seed=1)
    loaded.load_weights(tmp_path / "model.weights.h5")
    check(loaded, plan)


# Weights that cannot be filled


def test_unbuilt_models_are_errors():
    words = r"is not built, and has no weights yet. Call model\.build\(input_shape\), or call the model on a batch"
    with pytest.raises(PlanError, match=f"the model {words}"):
        adapter.initialize(keras.Sequential([layers.Dense(3)]), seed=0)

    class Unused(keras.Model):
        def __init__(self):
            super().__init__()
            self.used, self.unused = layers.Dense(2), layers.Dense(3)

        def call(self, x):
            return self.used(x)

    model = Unused()
    with warnings.catch_warnings(action="ignore"):  # Keras sees it too
        model(np.ones((2, 6), "float32"))
    with pytest.raises(PlanError, match=rf"dense_1: Dense {words}"):
        adapter.plan(model)
    with pytest.raises(TypeError, match=r"model must be a keras\.Model or another keras\.Layer, got int"):
        adapter.plan(3)


def test_frozen_weights_need_a_rule():
    model = sequential(layers.Dense(4, name="backbone"), layers.BatchNormalization(), layers.Dense(2, name="head"))
    model.layers[0].trainable = False
    before = weights_of(model)
    with pytest.raises(PlanError, match=r"backbone\.kernel: no rule matches, and the parameter is frozen") as error:
        adapter.initialize(model, he_normal, seed=0)
    assert 'Add the rule {"backbone.kernel": keep}  # frozen' in error.value.problems[0]
    assert len(error.value.problems) == 1  # the bias is a constant
    for one, other in zip(before, weights_of(model), strict=True):
        assert np.array_equal(one, other)
    adapter.initialize(model, {"backbone.*": keep}, seed=0)
    assert np.array_equal(before[0], weights_of(model)[0])
    adapter.initialize(model, {"backbone.kernel": he_normal}, seed=0)
    assert np.array_equal(values(model.layers[0].kernel), he_normal((6, 4), seed=0, name="backbone.kernel"))
    model.trainable = False  # the whole model, for inference
    assert adapter.plan(model, he_normal) == adapter.plan(keras.models.clone_model(model), he_normal)


def test_quantized_weights_need_a_rule():
    model = sequential(layers.Dense(4, name="dense"))
    model.quantize("int8")
    with pytest.raises(
        PlanError, match=r"dense\.kernel, dense\.kernel_scale: no rule matches, and quantized weights"
    ) as error:
        adapter.initialize(model, seed=0)
    assert len(error.value.problems) == 2  # and its scale
    adapter.initialize(model, {"*.kernel*": keep}, seed=0)
    with pytest.raises(PlanError, match="to be drawn, got int8"):
        adapter.initialize(model, {"*.kernel_scale": keep, "*.kernel": he_normal}, seed=0)


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: layers.Dense(8), LINE),
        (lambda: layers.EinsumDense("btd,dnh->btnh", (None, 2, 4)), LINE),  # packed into a matrix
        (lambda: layers.Embedding(10, 8), (8,)),
        (lambda: layers.ReversibleEmbedding(10, 8, tie_weights=False), (8,)),
    ],
    ids=["Dense", "EinsumDense", "Embedding", "ReversibleEmbedding"],
)
def test_quantized_weights_of_every_layer_need_a_rule(mode, layer, shape):
    model = sequential(layer(), layers.Dense(2, name="head"), shape=shape)
    model.quantize(mode, filters="^(?!head)")
    before = {name: values(variable) for name, variable in by_name(model).items()}
    with pytest.raises(PlanError) as error:
        adapter.plan(model)
    named = {problem.split(":")[0] for problem in error.value.problems}
    assert named == {name for name in before if not name.endswith("bias") and not name.startswith("head.")}
    adapter.initialize(model, he_normal, 0, only="head.*")
    for name, variable in by_name(model).items():
        assert np.array_equal(before[name], values(variable)) == (name != "head.kernel")


def test_low_rank_weights_are_filled():
    model = sequential(layers.Dense(4, name="dense"))
    model.layers[0].enable_lora(2)
    with pytest.raises(PlanError, match=r"dense\.kernel: no rule matches, and the parameter is frozen"):
        adapter.plan(model)
    adapter.initialize(model, {"*.kernel": keep}, seed=0)
    assert values(model.layers[0].lora_kernel_a).any()
    assert not values(model.layers[0].lora_kernel_b).any()
    plan = adapter.plan(model, {"*.kernel": keep}, default=normal())
    assert plan["dense.lora_kernel_a"].filling == normal()
    assert plan["dense.lora_kernel_b"].filling == zeros
    assert plan["dense.lora_kernel_b"].notes == ("zeros as constructed",)


class Experts(layers.Layer):
    """A layer of the user, which states no initializers."""

    def build(self, shape):
        self.up = self.add_weight(name="up", shape=(4, shape[-1], 8), initializer="he_normal")
        self.table = self.add_weight(name="table", shape=(3,), initializer="random_normal")

    def call(self, x):
        return keras.ops.einsum("bi,eio->beo", x, self.up)


def test_layers_of_the_user_are_filled():
    model = sequential(Experts())
    with pytest.raises(PlanError) as error:
        adapter.plan(model)
    assert [problem.split(":")[0] for problem in error.value.problems] == ["experts.up", "experts.table"]
    assert "Experts states no initializer in an attribute such as" in error.value.problems[0]
    assert error.value.problems[1].endswith('Add the rule {"*.table": keep}  # differing values as constructed')
    with pytest.raises(PlanError, match=r"needs to know which of the 3 axes in Experts are inputs and outputs"):
        adapter.plan(model, {"*.table": zeros}, default=he_normal)
    assert adapter.declare(Experts, up="BIO") is Experts
    plan = adapter.initialize(model, {"*.table": zeros}, seed=0, default=he_normal)
    assert plan["experts.up"].parameter.kind == "kernel"
    assert np.array_equal(values(model.layers[0].up), he_normal((4, 6, 8), axes="BIO", seed=0, name="experts.up"))
    adapter.declare(Experts, down="BOI")
    with pytest.raises(PlanError, match=r"declared axes must be for parameters of Experts \(up, table\), got 'down'"):
        adapter.plan(model)
    with pytest.raises(TypeError, match=r"cls must be a class of keras\.layers\.Layer, got 3"):
        adapter.declare(3)
    with pytest.raises(ValueError, match=r"Dense\.kernel: axes must consist of .*, got '\?' in 'I\?'"):
        adapter.declare(layers.Dense, kernel="I?")


def test_a_layer_may_state_its_axes():
    class Own(layers.Layer):
        initlib_axes = {"w": "OI"}  # noqa: RUF012

        def build(self, shape):
            self.w_initializer = keras.initializers.get("he_normal")
            self.w = self.add_weight(name="w", shape=(5, shape[-1]), initializer=self.w_initializer)

        def call(self, x):
            return x

    model = sequential(Own())
    adapter.initialize(model, seed=0)
    assert np.array_equal(values(model.layers[0].w), he_normal((5, 6), axes="OI", seed=0, name="own.w"))


def test_nothing_is_written_after_an_error():
    model = sequential(layers.Dense(4), layers.Dense(2))
    before = weights_of(model)
    for rules, words in (
        ({"dense.bais": zeros}, "nearest names: dense.bias"),
        ({"dense.*": initlib.values([1.0])}, "must have shape"),
    ):
        with pytest.raises(PlanError, match=words):
            adapter.initialize(model, rules, seed=0)
    with pytest.raises(TypeError, match="seed must be an int, a Key"):
        adapter.initialize(model, seed="0")
    for one, other in zip(before, weights_of(model), strict=True):
        assert np.array_equal(one, other)


# Values that constructors set on purpose


class Stating(layers.Layer):
    """A layer with other names of variables, and one initializer for all, as in keras-hub."""

    def __init__(self, attribute, shapes, **options):
        super().__init__(**options)
        self.shapes = shapes
        setattr(self, attribute, keras.initializers.HeNormal())
        self.stated = getattr(self, attribute)

    def build(self, shape):
        for name, sizes in self.shapes.items():
            setattr(self, name, self.add_weight(name=name, shape=sizes, initializer=self.stated))
        self.start = self.add_weight(name="start", shape=(3, 4), initializer="zeros")

    def call(self, x):
        return x


def test_the_only_initializer_of_a_layer_fills_all_its_variables():
    shapes = {"embeddings": (8, 6), "expert_up": (3, 6, 4), "mix": (6, 5)}
    for attribute in ("initializer", "kernel_initializer"):
        model = sequential(Stating(attribute, shapes, name="own"))
        plan = adapter.plan(model)
        facts = {entry.parameter.name: (entry.parameter.axes, entry.parameter.kind) for entry in plan.entries}
        assert facts == {
            "own.embeddings": ("IO", "table"),
            "own.expert_up": ("BIO", "kernel"),
            "own.mix": ("IO", "kernel"),
            "own.start": (None, "other"),
        }
        assert [entry.filling for entry in plan.entries] == [he_normal] * 3 + [zeros]
        plan = adapter.initialize(model, glorot_uniform, seed=0)
        assert [entry.filling for entry in plan.entries] == [normal(std=0.02), *[glorot_uniform] * 2, zeros]
        check(model, plan)
        model.layers[0].start.assign(np.arange(12.0).reshape(3, 4))  # as training does
        assert adapter.plan(model, glorot_uniform)["own.start"].filling == zeros


def test_kernels_that_their_layers_set_are_not_drawn():
    own = {"kernel_initializer": "identity"}, {"kernel_initializer": "zeros"}, {"kernel_initializer": "he_normal"}
    model = sequential(*(layers.Dense(6, name=name, **each) for name, each in zip("abc", own, strict=True)))
    plan = adapter.initialize(model, glorot_uniform, seed=0)
    fillings = [plan[f"{name}.kernel"].filling for name in "abc"]
    assert fillings == [initlib.identity(), zeros, glorot_uniform]
    assert plan["b.kernel"].notes == ("zeros as constructed",)


def test_values_that_no_initializer_draws_need_a_rule():
    positions = np.arange(16)[:, None] / 10000 ** (np.arange(0, 8, 2) / 8)

    class Set(layers.Layer):
        def build(self, shape):
            gain, mask = keras.initializers.Constant(0.1), keras.ops.convert_to_tensor(np.tri(6, dtype="float32"))
            waves = np.concatenate([np.sin(positions), np.cos(positions)], 1).astype("float32")
            self.gain = self.add_weight(name="gain", shape=(1, 1, 6), initializer=gain)
            self.token = self.add_weight(name="token", shape=(2, 6), initializer="zeros")
            self.mask = self.add_weight(name="mask", shape=(6, 6), initializer=lambda shape, dtype: mask)
            self.waves = self.add_weight(name="waves", shape=(16, 8), initializer=lambda shape, dtype: waves)
            self.steps = self.add_weight(name="steps", shape=(6,), initializer=lambda shape, dtype: mask[0] + mask[2])

        def call(self, x):
            return x * self.gain

    model = sequential(Set(name="own"), shape=LINE)
    with pytest.raises(PlanError) as error:
        adapter.plan(model, default=normal(std=0.02))
    assert [problem.split(": ")[0] for problem in error.value.problems] == ["own.mask", "own.waves", "own.steps"]
    rules = {f"*.{name}": keep for name in ("mask", "waves", "steps")}
    before = weights_of(model)
    plan = adapter.initialize(model, rules, seed=0, default=normal(std=0.02))
    assert plan["own.gain"].notes == ("0.1 as constructed",)
    assert plan["own.token"].notes == ("zeros as constructed",)
    for one, other in zip(before, weights_of(model), strict=True):
        assert np.array_equal(one, other)


def test_statistics_of_a_frozen_layer_are_kept():
    model = sequential(layers.Dense(4), layers.BatchNormalization(), layers.Dense(2, name="head"))
    model.layers[1].moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    model.layers[1].trainable = False
    adapter.initialize(model, he_normal, seed=0)
    assert values(model.layers[1].moving_mean).tolist() == [1, 2, 3, 4]


def test_unmatched_weights_can_be_kept():
    model = sequential(layers.Dense(4, name="body"), layers.Dense(2, name="head"))
    before = weights_of(model)
    plan = adapter.initialize(model, {"head.kernel": he_normal}, seed=0, unmatched="keep")
    assert plan["body.kernel"].notes == ("no rule matches",)
    assert np.array_equal(before[0], weights_of(model)[0])
    assert np.array_equal(weights_of(model)[2], he_normal((4, 2), seed=0, name="head.kernel"))


def test_initializers_of_keras_are_known_where_this_module_replaces_them(monkeypatch):
    model = sequential(layers.Dense(4, kernel_initializer=keras.initializers.HeNormal(), bias_initializer="ones"))
    monkeypatch.setattr(keras.initializers, "HeNormal", adapter.HeNormal)
    monkeypatch.setattr(keras.initializers, "Ones", adapter.Zeros)
    assert [entry.filling for entry in adapter.plan(model).entries] == [he_normal, initlib.ones]


# Verification of live weights


def test_verify_finds_what_differs_and_nothing_else():
    model = sequential(
        layers.Dense(40, name="q"), layers.Dense(40, name="k", dtype="bfloat16"), layers.LSTM(4), shape=(8, 40)
    )
    plan = adapter.initialize(model, seed=0)
    assert adapter.verify(model, plan, 0) == adapter.verify(model, plan, initlib.Key(0), whole=True) == ()
    drawn = [each.parameter.name for each in plan.entries if not each.parameter.name.endswith("bias")]
    assert [each.name for each in adapter.verify(model, plan, 1)] == drawn
    kernel = values(model.layers[0].kernel)
    changed = kernel.copy()
    changed[3, 5] += 1
    model.layers[0].kernel.assign(changed)
    (difference,) = adapter.verify(model, plan, 0, whole=True)
    assert (difference.name, difference.index) == ("q.kernel", (3, 5))
    model.layers[0].kernel.assign(kernel[[1, 0, *range(2, 40)]])
    assert [each.name for each in adapter.verify(model, plan, 0, whole=True)] == ["q.kernel"]
    other = adapter.plan(sequential(layers.Dense(41, name="q"), layers.Dense(2, name="v"), shape=(8, 40)))
    differences = {each.name: each.what for each in adapter.verify(model, other, 0)}
    assert differences["q.kernel"] == "has shape (40, 40), but the plan has (40, 41)"
    assert differences["k.kernel"] == "is not in the plan"
    assert differences["v.kernel"] == "is missing"


# Layers of one backend


@pytest.mark.skipif(BACKEND == "torch", reason="of JAX and TensorFlow")
def test_weights_of_jax_layers_are_filled_by_rules():
    flax = pytest.importorskip("flax")
    model = keras.Sequential([keras.Input((6,)), layers.FlaxLayer(flax.linen.Dense(4))])
    with pytest.raises(PlanError, match="FlaxLayer states no initializer") as error:
        adapter.initialize(model, seed=0)
    assert len(error.value.problems) == 1  # the bias is zeros
    plan = adapter.initialize(model, normal(), seed=0)
    check(model, plan)
    start = np.arange(24, dtype="float32").reshape(6, 4)
    own = layers.JaxLayer(lambda params, inputs: inputs @ params, lambda rng, inputs: start)
    with pytest.raises(PlanError, match="JaxLayer states no initializer"):
        adapter.initialize(keras.Sequential([keras.Input((6,)), own]), seed=0)


@only["torch"]
def test_weights_of_pytorch_modules_are_filled_by_rules():
    import torch

    wrapped = layers.TorchModuleWrapper(torch.nn.Linear(6, 4))
    model = keras.Sequential([keras.Input((6,)), wrapped])
    with pytest.raises(PlanError, match="TorchModuleWrapper states no initializer"):
        adapter.initialize(model, seed=0)
    plan = adapter.initialize(model, {"*": normal()}, seed=0)
    check(model, plan)


@only["tensorflow"]
def test_weights_of_tensorflow_layers_are_filled_by_rules(tmp_path):
    model = sequential(layers.Dense(4))
    model.export(tmp_path / "saved", verbose=False)
    loaded = keras.Sequential([keras.Input((6,)), layers.TFSMLayer(tmp_path / "saved", call_endpoint="serve")])
    with pytest.raises(PlanError, match="TFSMLayer"):
        adapter.initialize(loaded, seed=0)


@only["tensorflow"]
def test_tables_of_words_are_no_weights():
    for table in (layers.StringLookup(vocabulary=["a", "b"]), layers.TextVectorization(vocabulary=["a", "b"])):
        model = keras.Sequential([keras.Input((1,), dtype="string"), table, layers.Embedding(4, 3)])
        assert list(by_name(model)) == ["embedding.embeddings"]
        check(model, adapter.initialize(model, seed=0))
    model = sequential(layers.IntegerLookup(vocabulary=[1, 2]), layers.Embedding(4, 3), shape=(1,))
    assert list(by_name(model)) == ["embedding.embeddings"]


@only["tensorflow"]
def test_mirrored_variables_are_filled():
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        model = sequential(layers.Dense(4), layers.BatchNormalization())
    half = parts({"kept": (1, keep), "drawn": (1, he_normal)}, axis=1, replaces=2)
    before = values(model.layers[0].kernel)
    adapter.initialize(model, {"dense.kernel": half}, seed=0)
    assert np.array_equal(values(model.layers[0].kernel)[:, :2], before[:, :2])
    check(model, adapter.initialize(model, seed=0))


@only["jax"]
def test_replicas_of_data_parallel_training_are_equal():
    import jax

    keras.distribution.set_distribution(keras.distribution.DataParallel())
    try:
        model = sequential(layers.Dense(16), layers.BatchNormalization())
        plan = adapter.initialize(model, he_normal, seed=1)
        kernel = model.layers[0].kernel.value
        assert len(kernel.sharding.device_set) == len(jax.devices()) == 8
        assert all(np.array_equal(shard.data, kernel) for shard in kernel.addressable_shards)
        check(model, plan, 1)
        model.compile("sgd", "mse")
        model.fit(np.ones((8, 6), "float32"), np.ones((8, 16), "float32"), verbose=0)
    finally:
        keras.distribution.set_distribution(None)


@only["jax"]
def test_each_device_draws_only_its_shard():
    import jax

    mesh = keras.distribution.DeviceMesh((4, 2), ("batch", "model"))
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*kernel"] = keras.distribution.TensorLayout(["batch", "model"])
    with keras.distribution.ModelParallel(layout_map=layout).scope():
        model = sequential(layers.Dense(64), layers.LSTM(16), shape=(8, 32))
        plan = adapter.initialize(model, seed=0)
        kernel = model.layers[0].kernel.value
        assert {shard.data.shape for shard in kernel.addressable_shards} == {(8, 32)}
        assert len(kernel.sharding.device_set) == 8
        check(model, plan)
        before = kernel.sharding
        adapter.initialize(model, he_normal, seed=1)
        assert model.layers[0].kernel.value.sharding == before
    alone = sequential(layers.Dense(64), layers.LSTM(16), shape=(8, 32))
    adapter.initialize(alone, he_normal, seed=1)
    for one, other in zip(weights_of(model), weights_of(alone), strict=True):
        assert np.array_equal(one, other)
    assert not alone.layers[0].kernel.value.committed
    assert len(jax.devices()) == 8


def test_an_existing_plan_gives_the_bits_of_the_rules_that_made_it(tmp_path):
    def model():
        return keras.Sequential([keras.Input((4,)), layers.Dense(8), layers.BatchNormalization(), layers.Dense(2)])

    rules = {"dense_1.kernel": normal(std=0.1), "dense.bias": keep}
    by_rules, by_plan = model(), model()
    made = adapter.plan(by_rules, rules, default=he_normal)
    made.save(tmp_path / "plan.json")
    adapter.initialize(by_rules, rules, seed=0, default=he_normal)
    assert adapter.initialize(by_plan, initlib.Plan.load(tmp_path / "plan.json"), seed=0) == made
    for one, other in zip(weights_of(by_rules), weights_of(by_plan), strict=True):
        assert (one == other).all()
    before = weights_of(by_plan)
    assert adapter.initialize(by_plan, made, seed=1, only="dense.*")["dense_1.kernel"].kept
    assert (weights_of(by_plan)[-2] == before[-2]).all()
    assert (weights_of(by_plan)[0] != before[0]).any()


def test_all_differences_from_an_existing_plan_are_listed_and_nothing_is_written():
    made = adapter.plan(keras.Sequential([keras.Input((4,)), layers.Dense(8, name="a"), layers.Dense(2, name="b")]))
    model = keras.Sequential([keras.Input((4,)), layers.Dense(9, name="a"), layers.Dense(2, name="c")])
    before = weights_of(model)
    with pytest.raises(PlanError) as caught:
        adapter.initialize(model, made, seed=0)
    assert caught.value.problems == (
        "a.kernel: shape must be (4, 8), as in the plan, got (4, 9)",
        "a.bias: shape must be (8,), as in the plan, got (9,)",
        "c.kernel: the plan has no parameter of this name",
        "c.bias: the plan has no parameter of this name",
        "b.kernel: the plan has this parameter, and the model does not",
        "b.bias: the plan has this parameter, and the model does not",
    )
    for argument in ({"default": zeros}, {"rename": str}, {"axes": {"a.kernel": "IO"}}, {"unmatched": "keep"}):
        (name,) = argument
        with pytest.raises(TypeError, match=f"{name} must be left out if rules is a Plan"):
            adapter.initialize(model, made, seed=0, **argument)
    assert all((one == other).all() for one, other in zip(weights_of(model), before, strict=True))


def test_a_part_of_a_model_takes_its_entries_from_the_plan_of_the_full_model():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(8, name="a")], name="inner")
    full = keras.Sequential([keras.Input((4,)), inner, layers.Dense(2, name="b")])
    made = adapter.initialize(full, he_normal, seed=0)
    before = weights_of(inner)
    adapter.initialize(inner, normal(), seed=1)
    adapter.initialize(inner, made, seed=0, prefix="inner")
    assert all((one == other).all() for one, other in zip(weights_of(inner), before, strict=True))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_old_weights_of_another_framework(tmp_path, dtype):
    model = sequential(layers.Dense(4, dtype=dtype), layers.BatchNormalization(dtype=dtype))
    rng = np.random.default_rng(0)
    shapes = {
        "fc.weight": (4, 6),
        "fc.bias": (4,),
        **{f"norm.{name}": (4,) for name in ("weight", "bias", "mean", "var")},
    }
    old = {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}
    path = save(tmp_path / "old", old)
    rules = {
        "dense.kernel": loaded(path, "fc.weight", axes="OI") * 0.5 + normal(std=0.1),
        "dense.bias": loaded(path, "fc.bias"),
        "*.gamma": loaded(path, "norm.weight"),
        "*.beta": loaded(path, "norm.bias"),
        "*.moving_mean": loaded(path, "norm.mean"),
        "*.moving_variance": loaded(path, "norm.var"),
    }
    drawn = check(model, adapter.initialize(model, rules, seed=3), seed=3)
    noise = normal(std=0.1)((6, 4), axes="IO", seed=3, name="dense.kernel")
    kernel = old["fc.weight"].T * np.float32(0.5) + noise
    assert np.array_equal(drawn["dense.kernel"], kernel.astype(drawn["dense.kernel"].dtype))
    mean = drawn["batch_normalization.moving_mean"]
    assert np.array_equal(mean, old["norm.mean"].astype(mean.dtype))

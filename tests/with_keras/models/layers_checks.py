"""Layers of Keras: every layer with weights, with its axes and fans."""

import ast
import inspect
import textwrap

import keras
import numpy as np
import pytest
from keras import layers
from keras_backend import IMAGE, LINE, VOLUME, by_name, check, quiet, sequential, values

import initlib
from initlib import glorot_uniform, he_normal, normal, orthogonal, zeros
from initlib.adapters import keras as adapter

pytestmark = quiet


def model_of(layer, *shapes):
    inputs = [keras.Input(shape) for shape in shapes]
    return keras.Model(inputs, layer(*inputs) if len(inputs) < 2 or isinstance(layer, PAIRED) else layer(inputs))


PAIRED = (layers.MultiHeadAttention, layers.GroupQueryAttention)


FILM = {1: (3, 8, 6), 2: (3, 8, 8, 6), 3: (2, 8, 8, 8, 6)}


# How each class with weights is made, the shapes of its inputs, and for some variables, by hand, the axes and the fans.
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


def test_the_bias_of_the_forget_gate_is_1():
    model = sequential(layers.LSTM(4), shape=LINE)
    adapter.initialize(model, seed=0)
    assert values(model.weights[2]).tolist() == [0] * 4 + [1] * 4 + [0] * 8
    model = sequential(layers.LSTM(4, unit_forget_bias=False), shape=LINE)
    adapter.initialize(model, {"*:bias": initlib.constant(2)}, seed=0)
    assert set(values(model.weights[2])) == {2}

"""Checks of the signals of Keras's models on a backend; `test_backends.py` runs them on each backend."""

import keras
import numpy as np
import pytest
from keras_backend import BACKEND, quiet
from reference_network import BATCH, BIASES, TARGET, WEIGHTS, compare

from initlib import recipes
from initlib.adapters import keras as init

pytestmark = quiet
layers = keras.layers


def network():
    model = keras.Sequential(
        [
            keras.Input((20,)),
            layers.Dense(48, name="first"),
            layers.ReLU(name="relu"),
            layers.Dense(32, name="second"),
            layers.Activation("tanh", name="tanh"),
            layers.Dense(5, name="last"),
        ]
    )
    model.set_weights([array for pair in zip(WEIGHTS, BIASES, strict=True) for array in pair])
    return model


def mean_square_error(y):
    return keras.ops.mean(keras.ops.square(y - keras.ops.convert_to_tensor(TARGET)))


def test_the_report_has_the_numbers_of_the_reference():
    compare(init.signals(network(), BATCH, mean_square_error, learning_rate=0.1), True)
    compare(init.signals(network(), (16, 20), learning_rate=0.1), False)


def test_activations_have_the_names_of_layers():
    report = init.signals(network(), (16, 20))
    assert [row.name for row in report.activations] == ["first", "relu", "second", "tanh", "last"]
    assert [row.name for row in report.parameters][:2] == ["first.kernel", "first.bias"]
    assert [row.owner for row in report.activations] == ["Dense", "ReLU", "Dense", "Activation", "Dense"]


class Failing(layers.Layer):
    """A layer that can fail."""

    fail = False

    def call(self, x):
        if self.fail:
            raise RuntimeError("on purpose")
        return x * 2


@pytest.fixture
def everything():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    relu = layers.ReLU(name="relu")
    x = layers.Conv2D(4, 3, name="conv")(image)
    x = relu(layers.BatchNormalization(name="bn")(x))
    y = layers.Conv2D(4, 3, padding="same", activation="gelu", name="branch")(x)
    x = layers.Dropout(0.5, name="drop")(layers.Add(name="add")([x, y]))
    x = keras.ops.tanh(layers.GlobalAveragePooling2D(name="pool")(x))
    x = relu(layers.Dense(6, name="dense")(Failing(name="failing")(x)))
    return keras.Model(image, layers.Dense(3, name="out")(x), name="everything")


def test_activations_are_in_the_order_of_execution(everything):
    report = init.signals(everything, (4, 8, 8, 3))
    names = [row.name for row in report.activations]
    assert names[:6] == ["conv", "bn", "relu", "branch", "add", "drop"]
    assert names[6] == "pool"
    assert names[7].startswith("tanh")
    assert names[8:] == ["failing", "dense", "relu#2", "out"]
    assert [row.width for row in report.activations[:6]] == 6 * [4]
    assert all(row.gradient_std > 0 for row in report.activations)


@pytest.mark.parametrize("fail", [False, True])
def test_the_model_is_unchanged(everything, fail):
    layer = everything.get_layer("failing")
    layer.fail = fail
    before = [keras.ops.convert_to_numpy(variable) for variable in everything.variables]
    own = {id(layer): dict(vars(layer)) for layer in everything.layers}
    batch = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")
    kept = batch.copy()
    if fail:
        with pytest.raises(RuntimeError, match="on purpose"):
            init.signals(everything, batch)
    else:
        init.signals(everything, batch)
    after = [keras.ops.convert_to_numpy(variable) for variable in everything.variables]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    for layer in everything.layers:
        assert "call" not in vars(layer)
        assert own[id(layer)].keys() == vars(layer).keys()
    assert np.array_equal(batch, kept)


def test_a_second_report_is_equal(everything):
    first, again = (init.signals(everything, (4, 8, 8, 3)) for _ in range(2))
    assert [row.std for row in first.activations] == [row.std for row in again.activations]
    gradients = [row.gradient_std for row in first.activations]
    assert gradients == pytest.approx([row.gradient_std for row in again.activations])
    inference = init.signals(everything, (4, 8, 8, 3), training=False)
    assert inference.activations[1].std != first.activations[1].std


class Block(keras.Model):
    """A subclassed model inside another model."""

    def __init__(self, name):
        super().__init__(name=name)
        self.fc = layers.Dense(20, activation="relu", name="fc")

    def call(self, x):
        return x + self.fc(x)


def test_nested_models_are_measured():
    model = keras.Sequential([keras.Input((20,)), Block("a"), Block("b")])
    report = init.signals(model, (16, 20))
    assert [row.name for row in report.activations] == ["a.fc", "a", "b.fc", "b"]
    assert [row.name for row in report.parameters] == ["a.fc.kernel", "a.fc.bias", "b.fc.kernel", "b.fc.bias"]


def test_recurrent_layers_and_tables_are_measured():
    model = keras.Sequential(
        [
            keras.Input((10,), dtype="int32"),
            layers.Embedding(50, 16, name="table"),
            layers.LSTM(8, return_sequences=True, name="lstm"),
            layers.TimeDistributed(layers.Dense(4), name="each"),
        ]
    )
    report = init.signals(model, np.arange(40).reshape(4, 10))
    assert [row.name for row in report.activations] == ["table", "lstm", "each"]
    assert report.input_std is None


def test_a_batch_may_be_a_list_of_inputs():
    a, b = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([a, b], layers.Concatenate(name="both")([a, b]))
    rng = np.random.default_rng(0)
    report = init.signals(model, [rng.normal(size=(8, 4)).astype("float32") for _ in range(2)])
    assert [row.shape for row in report.activations] == [(8, 8)]


def test_half_precision_is_measured():
    model = keras.Sequential([keras.Input((20,)), layers.Dense(8, name="d", dtype="bfloat16")])
    row = init.signals(model, (16, 20)).activations[0]
    assert 0.3 < row.std < 3
    assert row.gradient_std > 0


def test_wrong_arguments_are_errors():
    with pytest.raises(ValueError, match=r"the model is not built, and has no weights yet\. Call model.build"):
        init.signals(keras.Sequential([layers.Dense(3)]), (4, 20))
    with pytest.raises(ValueError, match=r"loss must return one number, got shape \(16, 5\)"):
        init.signals(network(), BATCH, lambda y: y)
    with pytest.raises(ValueError, match="batch must hold inputs that differ, got the same input 16 times"):
        init.signals(network(), np.ones((16, 20), "float32"))
    with pytest.raises(
        TypeError, match=r"loss must take the model's output alone, got MeanSquaredError\(y_true, y_pred"
    ):
        init.signals(network(), BATCH, keras.losses.MeanSquaredError())
    with pytest.raises(TypeError, match="loss must be a function of the model's output, got a str"):
        init.signals(network(), BATCH, "mse")
    with pytest.raises(TypeError, match=r"model must be a keras\.Model or another keras\.Layer, got tuple"):
        init.signals((16, 20), network())
    with pytest.raises(ValueError, match="learning_rate must be above 0"):
        init.signals(network(), BATCH, learning_rate=0)


@pytest.mark.parametrize("loss", [lambda y: keras.ops.mean(keras.ops.stop_gradient(y)), lambda y: keras.ops.ones(())])
def test_a_loss_without_a_gradient_is_not_healthy(loss):
    """The gradients of JAX are 0; the other backends have no gradient, which is an error."""
    if BACKEND == "jax":
        assert {row.verdict for row in init.signals(network(), BATCH, loss).parameters} == {"dead"}
        return
    with pytest.raises(ValueError, match="loss must depend on the output of the model, got a loss without a gradient"):
        init.signals(network(), BATCH, loss)


@pytest.mark.parametrize("batch", [8, [16, 20], [[0.5] * 20] * 16, None, "text"], ids=repr)
def test_a_batch_without_arrays_is_an_error_that_names_the_argument(batch):
    model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(5)])
    message = "batch must be the inputs of the model, as tensors or arrays, or a shape, got .* A shape is a tuple"
    with pytest.raises(TypeError, match=message) as raised:
        init.signals(model, batch)
    assert raised.value.__cause__ is not None


def test_a_loss_that_returns_no_tensor_is_an_error():
    with pytest.raises(ValueError, match=r"loss must return a tensor of one number, got a float\. Do not call item"):
        init.signals(network(), BATCH, lambda y: 1.0)


def test_the_audit_names_the_schemes():
    model = keras.Sequential([keras.Input((64,)), layers.Dense(128, kernel_initializer="he_normal", name="d")])
    tensors = init.audit(model).tensors
    assert [tensor.name for tensor in tensors] == ["d.kernel", "d.bias"]
    assert [tensor.scheme for tensor in tensors] == ["he_normal", "zeros"]


def test_names_are_those_of_plans():
    """The names are not those that Keras numbers over the process."""
    layers.Dense(3), layers.Dense(3)
    model = keras.Sequential(
        [keras.Input((20,)), layers.Dense(8), layers.Dense(8), layers.BatchNormalization(), layers.Dense(4)]
    )
    names = [entry.parameter.name for entry in init.plan(model).entries]
    report = init.signals(model, (16, 20))
    assert [row.name for row in report.activations] == ["dense", "dense_1", "batch_normalization", "dense_2"]
    assert [tensor.name for tensor in init.audit(model).tensors] == names
    assert {row.name for row in report.parameters} < set(names)


def test_axes_are_those_of_plans():
    shape, kernels = (3, 3, 32, 48), init.HeNormal(seed=0, axes="HWOI")
    model = keras.Sequential([keras.Input((8, 8, 48)), layers.Conv2DTranspose(32, 3, kernel_initializer=kernels)])
    tensor = init.audit(model).tensors[0]
    assert (tensor.shape, tensor.scheme, tensor.axes) == (shape, "he_normal", "HWOI")
    row = init.signals(model, (2, 8, 8, 48)).parameters[0]
    matrix = np.moveaxis(keras.ops.convert_to_numpy(model.weights[0]), 2, -1).reshape(-1, 32)
    assert abs(row.top_singular_value / np.linalg.norm(matrix, 2) - 1) < 1e-4


def test_analytic_finds_gains_of_functional_models():
    x = image = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, activation="relu", padding="same", name="stem")(x)
    for k in range(2):
        y = layers.Conv2D(8, 3, activation="tanh", padding="same", name=f"a{k}")(x)
        x = layers.Add(name=f"add{k}")([x, layers.Dropout(0.5)(layers.Conv2D(8, 1, name=f"b{k}")(y))])
    inner = keras.Sequential(
        [keras.Input((8,)), layers.Dense(8, name="first"), layers.LayerNormalization()], name="sub"
    )
    x = inner(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, layers.Dense(3, name="out")(keras.ops.relu(x) * 2.0))
    rules = recipes.analytic(model, (4, 8, 8, 3))
    factors = {name: rule.factor for name, rule in rules.items()}
    assert list(factors) == [f"{name}.kernel" for name in ("stem", "a0", "b0", "a1", "b1", "sub.first", "out")]
    assert (factors["stem.kernel"], factors["a0.kernel"], factors["out.kernel"]) == (2.0, 1.0, 0.5)
    assert abs(factors["b0.kernel"] / (0.5 / 0.394294) - 1) < 1e-5  # E tanh(z)**2
    init.initialize(model, rules, seed=0)
    with pytest.warns(UserWarning, match="could not follow"):
        recipes.analytic(
            keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Lambda(lambda x: keras.ops.flip(x, 1))])
        )
    block = Block("a")
    block(np.ones((2, 20), "float32"))
    with pytest.raises(TypeError, match="model must be a functional or sequential model of Keras, got Block"):
        recipes.analytic(block)


def test_an_order_of_axes_that_is_not_allowed_is_an_error():
    with pytest.raises(ValueError, match=r"axes must be one of OI\.\.\., \.\.\.IO, got 'IO'"):
        init.audit(network(), axes="IO")

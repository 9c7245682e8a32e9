"""Matching: draws of every framework have a scheme, and trained weights have none."""

import math

import numpy as np
import pytest

import initlib
from initlib.diagnostics.audit.independent import roundest
from initlib.diagnostics.audit.matching import match
from initlib.diagnostics.audit.tally import Tally
from initlib.files.readers.stored_tensor import StoredTensor

SHAPE = (64, 80)
SEEDS = range(6)  # of 100 seeds of each scheme at least 99 were named, but 97 of a normal cut at 3 sigma


def matched(array, order="...IO", dtype=None):
    tensor = StoredTensor.of("w", np.asarray(array))
    if dtype:
        tensor = tensor._replace(dtype=dtype)
    other = "OI..." if order == "...IO" else "...IO"
    return match(tensor, Tally(tensor.shape, tensor.pieces()), (order, other))


def assert_named(label, draw, order="...IO"):
    for seed in SEEDS:
        result = matched(draw(seed), order)
        assert label in (result.scheme, *result.also), result


OURS = {
    "he_normal": initlib.he_normal,
    "he_uniform": initlib.he_uniform,
    "glorot_normal": initlib.glorot_normal,
    "glorot_uniform": initlib.glorot_uniform,
    "lecun_normal": initlib.lecun_normal,
    "lecun_uniform": initlib.lecun_uniform,
    "he_normal, not truncated": initlib.variance_scaling(2.0, "fan_in", "normal"),
    "glorot_normal, not truncated": initlib.variance_scaling(1.0, "fan_avg", "normal"),
    "lecun_normal, not truncated": initlib.variance_scaling(1.0, "fan_in", "normal"),
    "normal(std=0.02)": initlib.normal(std=0.02),
    "normal(mean=3, std=0.5)": initlib.normal(3.0, 0.5),
    "truncated_normal(std=0.02)": initlib.truncated_normal(std=0.02),
    "truncated_normal(std=0.02), cut at 3 sigma": initlib.truncated_normal(0.0, 0.02, -0.06, 0.06),
    "uniform(-0.05, 0.05)": initlib.uniform(-0.05, 0.05),
    "uniform(0, 1)": initlib.uniform(),
    "siren": initlib.siren(),
    "siren(first=True)": initlib.siren(first=True),
    "spectral": initlib.spectral(),
    "orthogonal": initlib.orthogonal(),
    "orthogonal(gain=2)": initlib.orthogonal(2.0),
    "zeros": initlib.zeros,
    "ones": initlib.ones,
    "constant(0.3)": initlib.constant(0.3),
    "identity": initlib.identity(),
    "identity(gain=0.5)": initlib.identity(0.5),
    "zero_hadamard": initlib.zero_hadamard(),
    "sparse(0.5, std=0.01)": initlib.sparse(0.5),
}


@pytest.mark.parametrize("label", OURS)
def test_schemes_of_this_library_are_named(label):
    assert_named(label, lambda seed: OURS[label](SHAPE, seed=seed))


@pytest.mark.parametrize("axes", ["...IO", "OI..."])
def test_kernels_of_convolutions_are_named(axes):
    shape = (3, 3, 32, 48) if axes == "...IO" else (48, 32, 3, 3)
    for label in ("he_normal", "glorot_uniform", "orthogonal", "dirac", "delta_orthogonal"):
        scheme = getattr(initlib, label)
        scheme = scheme if label.startswith(("he", "glorot")) else scheme()
        assert_named(label, lambda seed, scheme=scheme: scheme(shape, seed=seed, axes=axes), axes)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_schemes_are_named_in_half_precision(dtype):
    pytest.importorskip("ml_dtypes")
    for label in ("he_normal", "glorot_uniform", "normal(std=0.02)", "orthogonal"):
        for seed in SEEDS:
            weight = OURS[label]((256, 384), dtype, seed=seed)
            result = matched(weight.astype(np.float32), dtype=dtype)
            assert label in (result.scheme, *result.also), result


def test_schemes_of_pytorch_are_named():
    torch = pytest.importorskip("torch")
    init = torch.nn.init

    def draw(fill, **arguments):
        def weight(seed):
            torch.manual_seed(seed)
            return fill(torch.empty(SHAPE), **arguments).numpy()

        return weight

    for label, fill, arguments in (
        ("he_normal, not truncated", init.kaiming_normal_, {}),
        ("he_uniform", init.kaiming_uniform_, {}),
        ("he_normal, not truncated, by fan_out", init.kaiming_normal_, {"mode": "fan_out"}),
        ("he_uniform, by fan_out", init.kaiming_uniform_, {"mode": "fan_out"}),
        ("lecun_normal, not truncated", init.kaiming_normal_, {"nonlinearity": "linear"}),
        ("lecun_uniform", init.kaiming_uniform_, {"nonlinearity": "linear"}),
        ("uniform within 1 / sqrt(fan_in), torch's default", init.kaiming_uniform_, {"a": math.sqrt(5)}),
        ("glorot_normal, not truncated", init.xavier_normal_, {}),
        ("glorot_uniform", init.xavier_uniform_, {}),
        ("normal(std=1)", init.normal_, {}),
        ("uniform(0, 1)", init.uniform_, {}),
        ("truncated_normal(std=1)", init.trunc_normal_, {}),
        ("normal(std=0.02)", init.trunc_normal_, {"std": 0.02}),
        ("orthogonal", init.orthogonal_, {}),
        ("sparse(0.5, std=0.01)", init.sparse_, {"sparsity": 0.5}),
        ("identity", init.eye_, {}),
        ("ones", init.ones_, {}),
    ):
        assert_named(label, draw(fill, **arguments), "OI...")


def test_schemes_of_keras_are_named():
    keras = pytest.importorskip("keras")
    init = keras.initializers
    for label, make in (
        ("he_normal", init.HeNormal),
        ("he_uniform", init.HeUniform),
        ("glorot_normal", init.GlorotNormal),
        ("glorot_uniform", init.GlorotUniform),
        ("lecun_normal", init.LecunNormal),
        ("lecun_uniform", init.LecunUniform),
        ("normal(std=0.05)", init.RandomNormal),
        ("truncated_normal(std=0.05)", init.TruncatedNormal),
        ("uniform(-0.05, 0.05)", init.RandomUniform),
        ("orthogonal", init.Orthogonal),
    ):
        assert_named(label, lambda seed, make=make: keras.ops.convert_to_numpy(make(seed=seed)(SHAPE)))


def test_schemes_of_jax_are_named():
    jax = pytest.importorskip("jax")
    init = jax.nn.initializers
    schemes = {
        "he_normal": init.he_normal(),
        "he_uniform": init.he_uniform(),
        "glorot_normal": init.glorot_normal(),
        "glorot_uniform": init.glorot_uniform(),
        "lecun_normal": init.lecun_normal(),
        "lecun_uniform": init.lecun_uniform(),
        "he_normal, not truncated": init.variance_scaling(2.0, "fan_in", "normal"),
        "normal(std=0.01)": init.normal(),
        "uniform(0, 0.01)": init.uniform(),
        "truncated_normal(std=0.01)": init.truncated_normal(),
        "orthogonal": init.orthogonal(),
    }
    for label, scheme in schemes.items():
        assert_named(label, lambda seed, scheme=scheme: np.asarray(scheme(jax.random.key(seed), SHAPE)))


def test_other_weights_match_no_scheme():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=SHAPE)
    scaled = noise * np.linspace(0.7, 1.3, 64)[:, None]
    for weight, reason in (
        (noise**3, "no distribution: the nearest is normal"),
        (noise + 0.4 * np.outer(rng.normal(size=64), rng.normal(size=80)), "trained, or not drawn"),
        (noise + 0.3 * rng.normal(size=(64, 1)), "the means of the rows differ"),
        (scaled, "the stds of the rows differ"),
        (scaled.T, "the stds of the columns differ"),
        (np.where(noise > 0, noise, 0), "weights are 0"),
        (np.where(np.arange(80) == 3, np.nan, noise), "not finite"),
        (noise[:10, :10], "100 weights are too few to test"),
        (np.empty((0, 3)), "is empty"),
    ):
        result = matched(weight)
        assert result.scheme is None, result
        assert reason in result.test


def trained(initializer, steps=300, rate=0.1, width=96):
    """Return the hidden layer of a network that has learnt to assign noisy inputs to ten prototypes."""
    rng = np.random.default_rng(0)
    prototypes = rng.normal(size=(10, 64))
    shapes = [(64, width), (width, 64), (64, 10)]
    weights = [initializer(shape, "float64", seed=0, name=str(k)) for k, shape in enumerate(shapes)]
    for _ in range(steps):
        y = rng.integers(10, size=64)
        layers = [prototypes[y] + rng.normal(size=(64, 64))]
        for k, w in enumerate(weights):
            z = layers[-1] @ w
            layers.append(z if k == 2 else np.maximum(z, 0))
        p = np.exp(layers[-1] - layers[-1].max(axis=1, keepdims=True))
        delta = (p / p.sum(axis=1, keepdims=True) - np.eye(10)[y]) / 64
        for k in (2, 1, 0):
            step = layers[k].T @ delta
            delta = (delta @ weights[k].T) * (layers[k] > 0)
            weights[k] -= rate * step
    accuracy = (layers[-1].argmax(axis=1) == y).mean()
    return weights[1].astype(np.float32), accuracy


@pytest.mark.parametrize("label", ["he_normal", "he_uniform", "glorot_uniform", "normal(std=0.02)", "orthogonal"])
def test_a_trained_weight_matches_no_scheme(label):
    weight, accuracy = trained(OURS[label])
    assert accuracy > 0.9
    assert matched(weight).scheme is None


def test_rows_of_padding_are_left_out():
    table = initlib.normal(std=0.02)((1000, 64), seed=0)
    table[[0, 5]] = 0
    result = matched(table, "OI...")
    assert result.scheme == "normal(std=0.02)"
    assert result.test.startswith("2 rows of 0; the others: normal, KS")


def test_indistinguishable_schemes_are_listed():
    square = matched(initlib.glorot_normal((64, 64), seed=0))
    assert (square.scheme, square.also[0]) == ("glorot_normal", "lecun_normal")
    assert square.axes == "...IO"
    turned = matched(initlib.lecun_normal((64, 128), seed=0, axes="OI"))
    assert (turned.scheme, turned.axes) == ("lecun_normal", "OI...")


def test_a_match_has_the_tests_that_support_it():
    test = matched(initlib.he_normal(SHAPE, seed=0)).test
    assert test.startswith("normal cut at 2 sigma, KS 0.0")
    assert "for 0.1768 (z " in test
    assert all(word in test for word in ("rows z", "columns z", "top singular value"))


def test_roundest_has_the_fewest_digits():
    assert roundest(0.0195, 0.0204) == 0.02
    assert roundest(-0.0204, -0.0195) == -0.02
    assert roundest(-0.1, 0.2) == 0
    assert roundest(0.123, 0.124) == 0.124
    assert roundest(0.99, 1.01) == 1
    assert roundest(1 / 3, 1 / 3) == pytest.approx(1 / 3, rel=1e-12)

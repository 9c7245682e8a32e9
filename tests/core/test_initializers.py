import copy
import inspect
import json
import math
import os
import pickle
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

import initlib
from initlib import (
    Initializer,
    Key,
    constant,
    fans,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    icnr,
    lecun_normal,
    lecun_uniform,
    normal,
    ones,
    sparse,
    truncated_normal,
    uniform,
    variance_scaling,
    zeros,
)

PRESETS = {
    name: getattr(initlib, name)
    for name in ("he_normal", "he_uniform", "glorot_normal", "glorot_uniform", "lecun_normal", "lecun_uniform")
}
TRUNCATED = 0.8796256610342398
SHAPES = [((784, 128), None), ((3, 3, 32, 64), None), ((128, 784), "OI"), ((64, 32, 5), "OIK")]


def test_kaiming_and_xavier_are_aliases():
    assert initlib.kaiming_normal is he_normal
    assert initlib.kaiming_uniform is he_uniform
    assert initlib.xavier_normal is glorot_normal
    assert initlib.xavier_uniform is glorot_uniform


@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_presets_follow_their_formulas(shape, axes):
    fan_in, fan_out = fans(shape, axes)
    for initializer, variance in [
        (he_normal, 2 / fan_in),
        (he_uniform, 2 / fan_in),
        (glorot_normal, 2 / (fan_in + fan_out)),
        (glorot_uniform, 2 / (fan_in + fan_out)),
        (lecun_normal, 1 / fan_in),
        (lecun_uniform, 1 / fan_in),
    ]:
        assert initializer.std(shape, axes) == pytest.approx(math.sqrt(variance), rel=1e-12)
        low, high = initializer.bounds(shape, axes)
        widest = math.sqrt(3) if initializer.distribution == "uniform" else 2 / TRUNCATED
        assert high == -low == pytest.approx(widest * math.sqrt(variance), rel=1e-12)


@pytest.mark.parametrize(
    ("scheme", "factor", "mode", "distribution", "fan"),
    [
        ("MSRA", 2.0, "FAN_IN", "normal", lambda i, o: i),
        ("Caffe", 1.0, "FAN_IN", "uniform", lambda i, o: i),
        ("Glorot", 1.0, "FAN_AVG", "uniform", lambda i, o: (i + o) / 2),
        ("xavier, uniform", 1.0, "FAN_AVG", "uniform", lambda i, o: (i + o) / 2),
        ("xavier, normal", 1.0, "FAN_AVG", "truncated_normal", lambda i, o: (i + o) / 2),
        ("by fan_out", 2.0, "FAN_OUT", "normal", lambda i, o: o),
        ("geometric", 1.0, "fan_geo_avg", "normal", lambda i, o: math.sqrt(i * o)),
    ],
)
@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_schemes_of_contrib_follow_their_formulas(scheme, factor, mode, distribution, fan, shape, axes):
    std = variance_scaling(factor, mode, distribution).std(shape, axes)
    assert std == pytest.approx(math.sqrt(factor / fan(*fans(shape, axes))), rel=1e-12), scheme


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg", "fan_geo_avg"])
def test_std_and_limits_equal_jax(mode):
    """A draw of JAX, divided by its unit draw of the same key, is its std or limit."""
    jax = pytest.importorskip("jax")
    key, shape = jax.random.key(0), (3, 3, 8, 16)
    units = {
        "normal": (jax.random.normal(key, shape), 1),
        "uniform": (jax.random.uniform(key, shape, minval=-1), math.sqrt(3)),
        "truncated_normal": (jax.random.truncated_normal(key, -2, 2, shape), 1 / TRUNCATED),
    }
    for distribution, (unit, widening) in units.items():
        peer = jax.nn.initializers.variance_scaling(1.7, mode, distribution)(key, shape) / unit
        scheme = variance_scaling(1.7, mode, distribution).std(shape) * widening
        assert np.allclose(peer, scheme, rtol=1e-4)


def test_std_and_limits_equal_torch():
    torch = pytest.importorskip("torch")
    shape, axes = (64, 32, 3, 3), "OIHW"
    init = torch.nn.init

    def ratio(fill, unit):
        torch.manual_seed(0)
        drawn = fill(torch.empty(shape))
        torch.manual_seed(0)
        return (drawn / unit(torch.empty(shape))).numpy()

    for fill, scheme in [
        (lambda t: init.kaiming_normal_(t), he_normal),
        (lambda t: init.xavier_normal_(t), glorot_normal),
        (lambda t: init.kaiming_normal_(t, nonlinearity="linear"), lecun_normal),
        (lambda t: init.kaiming_normal_(t, mode="fan_out"), variance_scaling(2.0, "fan_out")),
    ]:
        assert np.allclose(ratio(fill, lambda t: t.normal_()), scheme.std(shape, axes), rtol=1e-4)
    for fill, scheme in [(init.kaiming_uniform_, he_uniform), (init.xavier_uniform_, glorot_uniform)]:
        unit = ratio(fill, lambda t: t.uniform_(-1, 1))
        assert np.allclose(unit, scheme.bounds(shape, axes)[1], rtol=1e-3)


def test_std_and_limits_equal_keras():
    pytest.importorskip("keras")
    pytest.importorskip("jax")
    program = """
import json, keras, numpy as np
shape, found = (3, 3, 8, 16), {}
for name in ("GlorotNormal", "HeNormal", "LecunNormal", "GlorotUniform", "HeUniform", "LecunUniform"):
    drawn = getattr(keras.initializers, name)(seed=1)(shape)
    if name.endswith("Normal"):
        unit = keras.random.truncated_normal(shape, seed=1)
    else:
        unit = keras.random.uniform(shape, -1, 1, seed=1)
    found[name] = float(np.median(np.asarray(drawn) / np.asarray(unit)))
print(json.dumps(found))
"""
    environ = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    stds = json.loads(
        subprocess.run([sys.executable, "-c", program], capture_output=True, env=environ, check=True).stdout
    )
    for name, scheme in PRESETS.items():
        peer = stds["".join(word.capitalize() for word in name.split("_"))]
        widening = math.sqrt(3) if name.endswith("uniform") else 1 / TRUNCATED
        assert peer == pytest.approx(scheme.std((3, 3, 8, 16)) * widening, rel=1e-5)


EVERY = [
    *PRESETS.values(),
    variance_scaling(4.0, "fan_out"),
    variance_scaling(0.5, "fan_geo_avg", "normal"),
    uniform(),
    uniform(-0.5, 0.25),
    normal(),
    normal(1.0, 0.02),
    truncated_normal(),
    truncated_normal(1.0, 2.0, 0.5, 4.0),
    constant(0.1),
    zeros,
    ones,
]


@pytest.mark.parametrize("initializer", EVERY, ids=repr)
def test_an_initializer_is_a_value(initializer):
    assert eval(repr(initializer), {**vars(initlib)}) == initializer
    for twin in (pickle.loads(pickle.dumps(initializer)), copy.deepcopy(initializer)):
        assert twin == initializer
        assert hash(twin) == hash(initializer)
        assert np.array_equal(twin((4, 6), seed=1), initializer((4, 6), seed=1))
    assert isinstance(initializer, Initializer)
    assert [initializer == other for other in EVERY].count(True) == 1
    assert initializer == mock.ANY
    before = initializer.get_config()
    for name in (*before, "another"):
        with pytest.raises(AttributeError, match=name):
            setattr(initializer, name, 3.0)
        with pytest.raises(AttributeError, match=name):
            delattr(initializer, name)
    assert initializer.get_config() == before


def test_initializers_differ():
    assert len(set(EVERY)) == len(EVERY)


@pytest.mark.parametrize("initializer", EVERY, ids=repr)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_draws_keep_shape_dtype_and_bounds(initializer, dtype):
    for shape in [(), (1,), (5,), (300, 200), (2, 3, 4)]:
        weight = initializer(shape, dtype, seed=2)
        assert isinstance(weight, np.ndarray)
        assert weight.shape == shape
        assert weight.dtype.name == dtype
        low, high = initializer.bounds(shape)
        if low < high:
            assert low <= float(weight.min())
            assert float(weight.max()) <= high
        else:
            assert (weight == np.array(low, weight.dtype)).all()


def test_dtypes_may_be_given_in_any_form():
    import ml_dtypes

    for dtype in ("float32", np.float32, np.dtype("float32"), "<f4", float, ml_dtypes.bfloat16):
        assert he_normal((2, 3), dtype).dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    "dtype", ["int32", int, bool, "float8_e4m3", None, "nonsense", ">f4", str, object(), ["float32"]]
)
def test_a_wrong_dtype_is_an_error(dtype):
    for initializer in (he_normal, ones):
        with pytest.raises(TypeError, match=r"dtype must be one of float16, bfloat16, float32, .*, complex128, got"):
            initializer((2, 3), dtype)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: variance_scaling(-1.0), ValueError, "factor must be at least 0, got -1.0"),
        (lambda: variance_scaling(math.nan), ValueError, "factor must be finite, got nan"),
        (lambda: variance_scaling(math.inf), ValueError, "factor must be finite, got inf"),
        (lambda: variance_scaling("2"), TypeError, "factor must be a real number, got '2'"),
        (lambda: variance_scaling(2j), TypeError, "factor must be a real number"),
        (lambda: variance_scaling(uniform=True), TypeError, 'Write distribution="uniform"'),
        (lambda: variance_scaling(uniform=False), TypeError, 'Write distribution="truncated_normal"'),
        (
            lambda: variance_scaling(1.0, "fan"),
            ValueError,
            "mode must be one of fan_in, fan_out, fan_avg, fan_geo_avg, got 'fan'",
        ),
        (lambda: variance_scaling(1.0, None), ValueError, "mode must be one of"),
        (
            lambda: variance_scaling(1.0, "fan_in", "gauss"),
            ValueError,
            "distribution must be one of truncated_normal, normal, uniform, got 'gauss'",
        ),
        (lambda: normal(std=-1.0), ValueError, "std must be at least 0, got -1.0"),
        (lambda: normal(math.inf), ValueError, "mean must be finite, got inf"),
        (lambda: normal(std=None), TypeError, "std must be a real number, got None"),
        (lambda: truncated_normal(std=-0.1), ValueError, "std must be at least 0"),
        (lambda: truncated_normal(low=2.0, high=1.0), ValueError, "low must not be above high, got low 2.0 and"),
        (lambda: truncated_normal(low=math.inf, high=math.inf), ValueError, "low must not be above high"),
        (lambda: truncated_normal(low=math.nan), ValueError, "low must be a number, got nan"),
        (lambda: uniform(1.0, 0.0), ValueError, "low must not be above high, got low 1.0 and high 0.0"),
        (lambda: uniform(0.0, math.inf), ValueError, "high must be finite"),
        (lambda: constant("a"), TypeError, "value must be a real number"),
        (lambda: constant([1.0, 2.0]), TypeError, "value must be a real number"),
    ],
)
def test_a_wrong_argument_is_an_error(make, error, message):
    with pytest.raises(error) as raised:
        make()
    assert message in str(raised.value)


def test_weights_that_overflow_are_an_error():
    with pytest.raises(ValueError, match="overflow float16"):
        normal(std=1e9)((3,), "float16")
    for wide in (
        uniform(-1e5, 1e5),
        variance_scaling(1e30),
    ):  # bounds beyond the range of the dtype: an error, not the largest number many times
        with pytest.raises(ValueError, match="overflow float16"):
            wide((3, 3), "float16")
    assert np.isfinite(truncated_normal(0.0, 1.0, -1e9, 1e9)((3,), "float16")).all()  # no weight is near the bounds
    with pytest.raises(ValueError, match="overflow float32"):
        normal(std=1e60)((3,))
    assert np.isfinite(normal(std=1e60)((3,), "float64")).all()


def test_bounds_without_a_number_of_the_dtype_give_the_nearest_number():
    assert (uniform(1.001, 1.002)(3, "bfloat16").astype(np.float32) == 1).all()
    assert (uniform(0.1, 0.1)(3) == np.float32(0.1)).all()
    assert (truncated_normal(0.0, 1.0, 0.5, 0.5)(3) == 0.5).all()
    assert (truncated_normal(3.0, 0.0, -1.0, 1.0)(3) == 1).all()


@pytest.mark.parametrize(
    ("initializer", "dtype"),
    [
        (normal(std=1e-38), "float32"),
        (normal(std=1e-32), "float32"),  # its scale is below the least normal number, which some machines flush to 0
        (uniform(-1e-40, 1e-40), "float32"),
        (normal(std=1e-8), "float16"),
        (normal(std=1e-305), "float64"),
        (normal(std=1e-20) * 1e-20, "float32"),
        (uniform(0.0, 1e-38), "float32"),
        (normal(1e-36, 1e-36), "bfloat16"),
        (normal(std=1e-320), "float64"),  # its scale is 0
    ],
    ids=str,
)
def test_weights_that_underflow_are_an_error(initializer, dtype):
    out = np.full(3, 7, dtype)
    with pytest.raises(ValueError, match=f"underflow {dtype}, which needs a std of at least"):
        initializer(3, dtype, out=out)
    assert (out == 7).all()


def test_the_least_std_is_exact():
    for std, dtype in ((3e-32, "float32"), (2.5e-7, "float16"), (1e-30, "bfloat16")):
        weights = normal(std=std)(2**16, dtype, seed=0).astype(np.float64)
        assert abs(weights.std() / std - 1) < 0.003 + 7.13 / math.sqrt(2 * 2**16)
    assert (normal(std=0.0)(3) == 0).all()
    assert (normal(mean=1.0, std=1e-40)(3) == 1).all()


@pytest.mark.parametrize(
    "window", [(5.0, 6.0), (-9.0, -7.0), (0.0, 1e-4), (5.0, math.inf), (-1e-5, 2e-5), (30.0, 40.0)]
)
def test_windows_of_almost_no_mass_follow_the_truncated_normal(window):
    stats = pytest.importorskip("scipy.stats")
    scheme = truncated_normal(0.0, 1.0, *window)
    drawn = scheme(2**16, "float64", seed=0)
    assert drawn.min() >= window[0]
    assert drawn.max() <= window[1]
    assert stats.kstest(drawn, stats.truncnorm(*window).cdf).statistic < 0.0147  # DKW at 1e-12
    assert abs(drawn.std() / scheme.std(2**16) - 1) < 0.05
    assert (scheme(2**16, "float64", seed=0, index=slice(9, 99, 7)) == drawn[9:99:7]).all()
    assert (scheme * 2)(3, seed=0).max() <= 2 * window[1]


def test_windows_may_be_unbounded():
    half = truncated_normal(low=0.0, high=math.inf)
    weights = half(2**16, seed=1)
    assert weights.min() >= 0
    assert abs(weights.std() / half.std(2**16) - 1) < 0.03
    assert half.bounds(3) == (0.0, math.inf)


class Named:
    """A dtype like those of TensorFlow."""

    def __init__(self, name):
        self.name = name


class Printed:
    """A dtype like those of PyTorch."""

    def __repr__(self):
        return "torch.bfloat16"


def test_a_dtype_of_a_framework_counts_by_its_name():
    assert he_normal((2, 3), Named("float32")).dtype == np.float32
    assert he_normal((2, 3), Printed()).dtype.name == "bfloat16"
    with pytest.raises(TypeError, match="dtype must be one of"):
        he_normal((2, 3), Named("qint8"))


def test_the_config_has_the_arguments_of_the_call():
    for scheme in (normal(std=0.5), truncated_normal(std=0.5), sparse(0.5), icnr(zeros, 2), he_normal * 0.5):
        config = scheme.get_config()
        assert repr(scheme) == f"{scheme.factory}({', '.join(f'{k}={v!r}' for k, v in config.items())})"
        assert type(scheme).from_config(config) == scheme
        assert getattr(initlib, scheme.factory) is type(scheme) or scheme.factory == "scaled"


def test_a_wrapper_has_the_properties_of_its_initializer():
    half = he_normal * 0.5
    assert half.uses_fans
    with pytest.warns(UserWarning, match="holds no weights"):
        half((0, 3))
    assert (half((4, 3), "complex64", seed=0) == 0.5 * he_normal((4, 3), "complex64", seed=0)).all()
    assert (icnr(zeros, 2)((3, 3, 4, 8)) == 0).all()


@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform"])
def test_complex_weights_have_the_variance_of_the_scheme(distribution):
    scheme = variance_scaling(2.0, "fan_in", distribution)
    weight = scheme((512, 512), "complex64", seed=3)
    assert weight.dtype == np.complex64
    assert abs(np.sqrt((abs(weight) ** 2).mean()) / scheme.std(weight.shape) - 1) < 0.01
    assert abs(weight.real.std() / weight.imag.std() - 1) < 0.02
    assert (scheme((512, 512), "complex64", seed=3, index=(slice(3, 9), 5)) == weight[3:9, 5]).all()
    if distribution == "normal":
        part = normal(std=scheme.std(weight.shape) / math.sqrt(2))
        for name, half in (("real", weight.real), ("imaginary", weight.imag)):
            assert (half == part(weight.shape, seed=Key(3).fold_in(name))).all()


@pytest.mark.parametrize("initializer", [*PRESETS.values(), variance_scaling(1.0, "fan_geo_avg")], ids=repr)
@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0,), (3, 0, 4)])
def test_an_empty_weight_with_fans_gives_a_warning(initializer, shape):
    with pytest.warns(UserWarning, match="holds no weights: nothing is drawn"):
        assert initializer(shape, seed=0).shape == shape


def test_an_empty_weight_without_fans_gives_no_warning():
    assert zeros((0, 5)).shape == normal()((0, 5)).shape == (0, 5)
    assert he_normal((4, 5), index=slice(2, 2)).shape == (0, 5)


def test_a_fan_of_0_has_no_std():
    with pytest.raises(ValueError, match=r"shape must have a fan_in above 0, got \(0, 5\)"):
        he_normal.std((0, 5))
    assert variance_scaling(1.0, "fan_out").std((0, 5)) == math.sqrt(1 / 5)


def test_factor_0_and_std_0_give_the_mean():
    assert (variance_scaling(0.0)((4, 5), seed=0) == 0).all()
    assert (normal(0.5, 0.0)((4, 5), seed=0) == 0.5).all()
    assert (uniform(0.25, 0.25)((4, 5), seed=0) == 0.25).all()


def test_each_name_has_another_stream():
    one, two = (he_normal((8, 8), seed=0, name=name) for name in ("conv1", "conv2"))
    assert not (one == two).any()
    assert np.array_equal(one, he_normal((8, 8), seed=initlib.Key(0).fold_in("conv1")))


def test_no_call_has_a_parameter_named_layout():
    """Keras passes a sharding to any initializer with such a parameter."""
    for initializer in EVERY:
        assert "layout" not in inspect.signature(initializer).parameters


def test_an_initializer_that_was_hashed_is_pickled_and_copied_without_its_hash():
    """The hash of a string is another one in another process."""
    hashed, fresh = variance_scaling(2.0, "fan_in", "uniform"), variance_scaling(2.0, "fan_in", "uniform")
    assert len({hashed, fresh, copy.copy(hashed), copy.deepcopy(hashed), pickle.loads(pickle.dumps(hashed))}) == 1
    assert pickle.dumps(hashed) == pickle.dumps(variance_scaling(2.0, "fan_in", "uniform"))
    program = (
        "import pickle, sys; i = pickle.load(sys.stdin.buffer); print(hash(i) == hash(type(i)(*vars(i).values())))"
    )
    done = subprocess.run([sys.executable, "-c", program], input=pickle.dumps(hashed), capture_output=True, check=True)
    assert done.stdout.strip() == b"True"

import math

import mpmath
import numpy as np
import pytest

from initlib import gain, variance_scaling
from initlib.gains import ACTIVATIONS

# 1 / sqrt(E f(z)**2) and 1 / sqrt(E f'(z)**2), by mpmath with 30 digits.
TABLE = [
    ("identity", {}, 1, 1),
    ("linear", {}, 1, 1),
    ("relu", {}, 1.4142135624, 1.4142135624),
    ("leaky_relu", {}, 1.4141428570, 1.4141428570),
    ("leaky_relu", {"slope": 0.2}, 1.3867504906, 1.3867504906),
    ("prelu", {}, 1.3719886811, 1.3719886811),
    ("elu", {}, 1.2451983007, 1.2234285576),
    ("selu", {}, 1.0000000000, 0.9660257770),
    ("gelu", {}, 1.5335304412, 1.4811144127),
    ("gelu", {"approximate": "tanh"}, 1.5335805217, 1.4811680581),
    ("gelu_tanh", {}, 1.5335805217, 1.4811680581),
    ("silu", {}, 1.6765324703, 1.6233202580),
    ("swish", {}, 1.6765324703, 1.6233202580),
    ("mish", {}, 1.4868475813, 1.4447552325),
    ("tanh", {}, 1.5925374197, 1.4674135916),
    ("sigmoid", {}, 1.8462285453, 4.7226460859),
    ("softplus", {}, 1.0418668355, 1.8462285453),
    ("relu6", {}, 1.4142135651, 1.4142135638),
    ("hardswish", {}, 1.7366572128, 1.6700763674),
    ("relu2", {}, 0.8164965809, 0.7071067812),
    ("relu_squared", {}, 0.8164965809, 0.7071067812),
    ("sin", {"w0": 30.0}, 1.4142135624, 0.0471404521),
]


@pytest.mark.parametrize(("name", "parameters", "forward", "backward"), TABLE, ids=[str(row[:2]) for row in TABLE])
def test_gains_equal_the_table(name, parameters, forward, backward):
    assert abs(gain(name, **parameters) - forward) < 6e-11  # the rounding of the table
    assert abs(gain(name, backward=True, **parameters) - backward) < 6e-11


def sigmoid(z):
    return 1 / (1 + mpmath.exp(-z))


def softplus(z):
    return mpmath.log1p(mpmath.exp(z))


# Activations in high precision, and their kinks.
EXACT = [
    ("celu", {"alpha": 2.0}, lambda z: z if z > 0 else 2 * mpmath.expm1(z / 2), [0]),
    ("elu", {"alpha": 0.5}, lambda z: z if z > 0 else mpmath.expm1(z) / 2, [0]),
    ("gelu", {}, lambda z: z * mpmath.ncdf(z), []),
    ("hardsigmoid", {}, lambda z: min(max(z + 3, 0), 6) / 6, [-3, 3]),
    ("hardtanh", {"low": -0.5, "high": 2}, lambda z: min(max(z, mpmath.mpf(-0.5)), 2), [-0.5, 2]),
    ("logsigmoid", {}, lambda z: -softplus(-z), []),
    ("mish", {}, lambda z: z * mpmath.tanh(softplus(z)), []),
    ("silu", {"beta": 1.702}, lambda z: z * sigmoid(mpmath.mpf(1.702) * z), []),
    ("sin", {}, mpmath.sin, []),
    ("softplus", {"beta": 3}, lambda z: softplus(3 * z) / 3, []),
    ("softsign", {}, lambda z: z / (1 + abs(z)), [0]),
    (lambda z: z * np.tanh(z), {}, lambda z: z * mpmath.tanh(z), []),
    (np.tanh, {}, mpmath.tanh, []),
    (lambda z: np.maximum(z, 0), {}, lambda z: max(z, mpmath.mpf(0)), [0]),
    (lambda z: np.abs(z - 0.1) - np.maximum(z + 0.7, 0), {}, lambda z: abs(z - 0.1) - max(z + 0.7, 0), [-0.7, 0.1]),
    (lambda z: np.tanh(200 * z), {}, lambda z: mpmath.tanh(200 * z), [-0.1, 0, 0.1]),
    (np.exp, {}, mpmath.exp, []),
]


@pytest.mark.parametrize(("activation", "parameters", "exact", "kinks"), EXACT)
def test_gains_equal_high_precision_quadrature(activation, parameters, exact, kinks):
    with mpmath.workdps(25):
        points = sorted({*kinks, -16, -8, -4, -2, -1, -0.5, 0, 0.5, 1, 2, 4, 8, 16})

        def inverse_root(f):
            return float(1 / mpmath.sqrt(mpmath.quad(lambda z: f(z) ** 2 * mpmath.npdf(z), points)))

        assert gain(activation, **parameters) == pytest.approx(inverse_root(exact), rel=1e-9)
        slope = inverse_root(lambda z: mpmath.diff(exact, z, h=mpmath.mpf(10) ** -15))
        assert gain(activation, backward=True, **parameters) == pytest.approx(slope, rel=1e-9)


def test_gains_of_related_activations_are_related():
    assert gain("identity") == gain("linear", backward=True) == 1
    assert gain("relu") == gain("ReLU", backward=True) == math.sqrt(2)
    assert gain("leaky_relu", slope=0.2) == gain("prelu", slope=0.2) == math.sqrt(2 / 1.04)
    assert gain("softplus", backward=True) == pytest.approx(gain("sigmoid"), rel=1e-11)
    assert gain("elu", alpha=0) == pytest.approx(gain("relu"), rel=1e-11)
    assert variance_scaling(gain("selu") ** 2).std((100, 7)) == pytest.approx(0.1, rel=1e-9)


def test_gains_equal_pytorch_where_both_have_the_same_definition():
    torch = pytest.importorskip("torch")
    assert gain("linear") == torch.nn.init.calculate_gain("linear")
    assert gain("relu") == torch.nn.init.calculate_gain("relu")
    assert gain("leaky_relu", slope=0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


STEPS = [
    ("sign", np.sign, 1),
    ("step at 0", lambda z: (z > 0).astype(float), 1 / 2),
    ("step of booleans", lambda z: z > 0.3, 0.3820885778110474),
    ("step of ints", lambda z: np.where(z > -1, 2, 0), 4 * 0.8413447460685429),
]


@pytest.mark.parametrize(("step", "square"), [row[1:] for row in STEPS], ids=[row[0] for row in STEPS])
def test_a_step_has_a_forward_gain_and_no_backward_gain(step, square):
    assert gain(step) == pytest.approx(square**-0.5, rel=1e-9)
    with pytest.raises(ValueError, match=r"mean square E f'\(z\)\*\*2 that is positive and finite, got infinity"):
        gain(step, backward=True)


def test_functions_may_have_many_jumps_and_kinks():
    assert gain(lambda z: 10 * z % 1) == pytest.approx(math.sqrt(3), rel=1e-5)  # nearly uniform on [0, 1)
    assert gain(lambda z: np.abs(10 * z % 1 - 0.5), backward=True) == pytest.approx(0.1, rel=1e-9)


def test_slopes_may_be_unbounded():
    # E |z|**-0.8 = 2**-0.4 gamma(0.1) / sqrt(pi)
    square = 0.36 * 2**-0.4 * math.gamma(0.1) / math.sqrt(math.pi)
    assert gain(lambda z: np.abs(z) ** 0.6, backward=True) == pytest.approx(square**-0.5, rel=1e-9)
    with pytest.raises(ValueError, match="infinity"):
        gain(lambda z: np.sqrt(np.abs(z)), backward=True)


@pytest.mark.parametrize("scale", [1e-200, 1e-5, 1e200])
def test_the_gain_scales_with_the_function(scale):
    assert gain(lambda z: scale * np.tanh(z)) == pytest.approx(gain("tanh") / scale, rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_functions_may_compute_in_low_precision(dtype):
    precision = float(np.finfo(dtype).eps)
    assert gain(lambda z: np.tanh(z.astype(dtype))) == pytest.approx(gain("tanh"), rel=precision)


def test_a_function_may_change_its_argument():
    assert gain(lambda z: np.maximum(z, 0, out=z)) == pytest.approx(math.sqrt(2), rel=1e-12)


def test_wrong_activations_are_errors():
    with pytest.raises(ValueError, match=r"celu, elu, gelu, gelu_tanh, hardsigmoid.*got 'rleu'") as error:
        gain("rleu")
    assert all(name in str(error.value) for name in ACTIVATIONS)
    with pytest.raises(TypeError, match="a name or a function"):
        gain(None)
    with pytest.raises(ValueError, match=r"mean square E f\(z\)\*\*2 that is positive and finite, got 0"):
        gain(np.zeros_like)
    with pytest.raises(ValueError, match=r"mean square E f'\(z\)\*\*2 that is positive and finite, got 0"):
        gain(np.ones_like, backward=True)
    for unbounded in (lambda z: np.exp(z * z / 4), lambda z: np.exp(z * z), lambda z: 1 / z):
        with pytest.raises(ValueError, match=r"mean square E f\(z\)\*\*2 that is positive and finite, got infinity"):
            gain(unbounded)
    with pytest.raises(ValueError, match=r"of its argument, got shape \(\) from \(3200,\)"):
        gain(np.sum)
    with pytest.raises(ValueError, match="real numbers, got dtype complex128"):
        gain(lambda z: z * 1j)
    with pytest.raises(ValueError, match="got NaN at -"):
        gain(np.log)
    with pytest.raises(ValueError, match="too rough"):
        gain(lambda z: np.modf(np.sin(z * 1e4) * 1e9)[0])
    with pytest.raises(TypeError, match="'leaky_relu' must be slope, got 'alpha'"):
        gain("leaky_relu", alpha=0.2)
    with pytest.raises(TypeError, match="'tanh' must be none, got 'slope'"):
        gain("tanh", slope=0.2)
    with pytest.raises(TypeError, match="given with a named activation only"):
        gain(np.tanh, slope=0.2)
    with pytest.raises(TypeError, match="slope must be a real number"):
        gain("leaky_relu", slope="a")
    with pytest.raises(ValueError, match="approximate must be one of none, tanh"):
        gain("gelu", approximate="erf")


def test_every_name_has_both_gains():
    for name in ACTIVATIONS:
        assert gain(name) > 0
        assert gain(name, backward=True) > 0


def test_a_class_in_place_of_an_activation_is_an_error_with_the_fix():
    class Wave:
        pass

    with pytest.raises(TypeError, match=r"got a class\. Write Wave\(\)"):
        gain(Wave)

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from initlib import delta_orthogonal, normal, orthogonal
from initlib.axes import canonical
from initlib.schemes._orthogonal import reflected
from initlib.stream import numpy_engine
from initlib.stream.numpy_engine import NUMPY

ORTHOGONALITY = {"float16": 5e-3, "bfloat16": 4e-2, "float32": 1e-5, "float64": 1e-12}
# DKW with a chance of 1e-12 to fail wrongly.
SAMPLES = 2**17
KS = math.sqrt(math.log(2e12) / (2 * SAMPLES))

WEIGHTS = [
    ("tall", (40, 17), None),
    ("wide", (17, 40), None),
    ("square, several blocks", (300, 300), None),
    ("PyTorch linear", (12, 30), "OI"),
    ("PyTorch convolution", (16, 8, 3, 3), "OIHW"),
    ("Keras convolution", (3, 3, 8, 100), None),
    ("PyTorch grouped convolution", (12, 5, 3), "(4 O)IW"),
    ("Keras depthwise convolution", (3, 3, 7, 2), "HWBO"),
    ("packed query, key and value", (3 * 9, 9), "(3 O)I"),
    ("attention", (24, 4, 6), "IOO"),
    ("experts", (5, 6, 7), "BIO"),
    ("one number", (1, 1), None),
]


def matrices(weight, shape, axes):
    parts = canonical(shape, axes)
    return parts.arrange(np.asarray(weight, np.float64)).reshape(parts.matrices)


def of_noise(noise, *size):
    return reflected(lambda first, last: noise[:, first:, first:last], noise.shape, noise.dtype.name, NUMPY, *size)


@pytest.mark.parametrize("dtype", ORTHOGONALITY)
@pytest.mark.parametrize(("shape", "axes"), [row[1:] for row in WEIGHTS], ids=[row[0] for row in WEIGHTS])
def test_every_matrix_is_orthogonal_times_the_gain(shape, axes, dtype):
    for matrix in matrices(orthogonal(1.5)(shape, dtype, axes=axes, seed=3), shape, axes):
        values = np.linalg.svd(matrix, compute_uv=False)
        assert np.abs(values - 1.5).max() < 1.5 * ORTHOGONALITY[dtype]
        tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
        assert np.abs(tall.T @ tall / 2.25 - np.eye(tall.shape[1])).max() < 2 * ORTHOGONALITY[dtype]


@given(
    st.lists(st.tuples(st.sampled_from("BIOIOW"), st.integers(1, 3), st.integers(1, 4)), min_size=2, max_size=4).filter(
        lambda axes: [letter for letter, _, _ in axes].count("W") < 2
    )
)
def test_matrices_of_any_axes_are_orthogonal(axes):
    shape = tuple(n * size for _, n, size in axes)
    string = "".join(f"({n} {letter})" for letter, n, _ in axes)
    for matrix in matrices(orthogonal()(shape, "float64", axes=string, seed=1), shape, string):
        assert np.abs(np.linalg.svd(matrix, compute_uv=False) - 1).max() < 1e-12


def test_the_weights_of_a_seed_never_change():
    known = [[0.9608367, 0.08323465], [-0.25674978, -0.09150981], [0.10427088, -0.99231946]]
    assert (orthogonal()((3, 2), seed=0) == np.float32(known)).all()
    assert (orthogonal()((2, 3), seed=0) == np.float32(known).T).all()


def test_matrices_drawn_in_pieces_are_the_same(monkeypatch):
    whole = orthogonal()((7, 5, 6), axes="BIO", seed=1)
    monkeypatch.setattr(NUMPY, "piece", 70)
    assert (orthogonal()((7, 5, 6), axes="BIO", seed=1) == whole).all()


@pytest.mark.parametrize("shape", [(300, 129), (130, 70), (200, 200), (70, 1)])
def test_reflections_drawn_in_panels_are_the_same(shape, monkeypatch):
    """The last panel never has a single column, whose squares NumPy would add up in another order."""
    full = orthogonal()(shape, "float64", seed=1)
    monkeypatch.setattr(numpy_engine, "PANEL", 1)
    assert (orthogonal()(shape, "float64", seed=1) == full).all()


def test_every_dtype_is_the_float64_weight_rounded():
    exact = orthogonal(1.5)((40, 30), "float64", seed=3)
    for dtype in ORTHOGONALITY:
        weight = orthogonal(1.5)((40, 30), dtype, seed=3)
        assert (weight == exact.astype(weight.dtype)).all()


def test_complex_noise_makes_unitary_matrices():
    noise = normal()((2, 2, 20, 9), "float64", seed=2)
    q = of_noise(noise[0] + 1j * noise[1], 4)
    assert np.abs(np.swapaxes(q, 1, 2).conj() @ q - np.eye(9)).max() < 1e-14
    assert np.abs(q.imag).max() > 0.1


@pytest.mark.parametrize("scheme", [orthogonal(), delta_orthogonal(0.5)], ids=repr)
def test_one_seed_is_one_network_in_every_storage(scheme):
    keras = scheme((3, 2, 8, 10), seed=5)
    assert (scheme((10, 8, 3, 2), axes="OIHW", seed=5).transpose(2, 3, 1, 0) == keras).all()
    packed, stacked = scheme((3 * 9, 4), axes="(3 O)I", seed=5), scheme((3, 4, 9), axes="BIO", seed=5)
    assert (packed.reshape(3, 9, 4) == stacked.transpose(0, 2, 1)).all()
    assert not np.allclose(stacked[0], stacked[1])


@pytest.mark.parametrize("scheme", [orthogonal(), delta_orthogonal()], ids=repr)
def test_a_box_equals_the_box_of_the_full_weight(scheme):
    index = (slice(None, None, -1), 1, slice(1, 6, 2), slice(3, None))
    whole = scheme((3, 3, 8, 10), "float64", seed=5, name="conv")
    assert (scheme((3, 3, 8, 10), "float64", seed=5, name="conv", index=index) == whole[index]).all()


def test_std_and_bounds_are_those_of_the_weights():
    assert orthogonal(-2.0).std((3, 3, 4, 5)) == 2 / 6
    assert orthogonal(-2.0).bounds((3, 3, 4, 5)) == (-2, 2)
    assert orthogonal().std((2, 8)) == 1 / math.sqrt(8)
    assert delta_orthogonal(2.0).std((3, 3, 4, 16)) == 2 / 12
    for scheme, shape in ((orthogonal(2.0), (2, 2, 20, 30)), (delta_orthogonal(2.0), (2, 3, 20, 30))):
        weight = scheme(shape, "float64", seed=1)
        assert math.sqrt((weight**2).mean()) == pytest.approx(scheme.std(shape), rel=1e-12)


@pytest.mark.parametrize("block", [1, 4, 17, 100])
def test_q_is_the_product_of_the_reflections(block):
    rows, columns = 23, 17
    noise = normal()((2, rows, columns), "float64", seed=2)
    for matrix, q in zip(noise, of_noise(noise, block), strict=True):
        expected = np.eye(rows)
        for k in range(columns):
            v = np.where(np.arange(rows) >= k, matrix[:, k], 0)
            sign = -1 if v[k] < 0 else 1
            v[k] += sign * np.linalg.norm(v)
            expected = expected @ (np.eye(rows) - 2 * np.outer(v, v) / (v @ v))
            expected[:, k] *= -sign  # no later reflection touches column k
        assert np.abs(q - expected[:, :columns]).max() < 1e-14


def test_noise_of_zeros_is_not_reflected():
    assert (np.abs(of_noise(np.zeros((1, 4, 3)))[0]) == np.eye(4, 3)).all()


def distance(samples, cdf):
    """Return the statistic of Kolmogorov and Smirnov."""
    samples = np.sort(np.asarray(samples, np.float64))
    steps = np.arange(len(samples) + 1) / len(samples)
    expected = cdf(samples)
    return max(np.abs(steps[1:] - expected).max(), np.abs(expected - steps[:-1]).max())


def trace_cdf(t):
    """Return the distribution of the trace of O(3).

    Half of the matrices are rotations of trace 1 + 2 cos(angle), where the angle has the density (1 - cos) / pi. The
    traces of the others are their negatives.
    """

    def turns(t):
        angle = np.arccos(np.clip((t - 1) / 2, -1, 1))
        return 1 - (angle - np.sin(angle)) / np.pi

    return (turns(t) + 1 - turns(-t)) / 2


def test_matrices_are_uniformly_distributed():
    q = orthogonal()((SAMPLES, 3, 3), "float64", axes="BIO", seed=11)
    for row in range(3):
        for column in range(3):  # Archimedes: a coordinate of the sphere is uniform
            assert distance(q[:, row, column], lambda x: (x + 1) / 2) < KS
    trace = np.trace(q, axis1=1, axis2=2)
    assert distance(trace, trace_cdf) < KS
    assert abs(np.sign(np.linalg.det(q)).mean()) < 7.13 / math.sqrt(SAMPLES)
    # A fixed rotation from either side keeps the distribution.
    fixed = orthogonal()((3, 3), "float64", seed=12)
    assert distance(np.trace(q @ fixed, axis1=1, axis2=2), trace_cdf) < KS
    # The test can fail: LAPACK's signs are not uniform.
    assert distance(-np.abs(q[:, 0, 0]), lambda x: (x + 1) / 2) > KS


@pytest.mark.parametrize("shape", [(5, 3), (3, 5)], ids=["tall", "wide"])
def test_rectangular_matrices_are_uniformly_distributed(shape):
    q = orthogonal()((SAMPLES, *shape), axes="BIO", seed=13)
    # The square of an entry of a unit vector in 5 dimensions is Beta(1/2, 2): its root has the CDF (3 x - x**3) / 2.
    for entry in (q[:, 0, 0], q[:, -1, -1], q[:, 1, 2]):
        assert distance(entry, lambda x: 0.5 + (3 * x - x**3) / 4) < KS


def test_trace_of_a_larger_matrix_is_normal():
    # Diaconis, Shahshahani 1994: for O(n) the trace is N(0, 1) to far below the test's resolution at n = 16.
    count = 2**14
    trace = np.trace(orthogonal()((count, 16, 16), axes="BIO", seed=14), axis1=1, axis2=2)
    cdf = np.vectorize(lambda t: math.erfc(-t / math.sqrt(2)) / 2)
    assert distance(trace, cdf) < math.sqrt(math.log(2e12) / (2 * count))


@pytest.mark.parametrize("kernel", [(3,), (4,), (3, 3), (2, 4), (5, 2), (3, 2, 3)], ids=str)
@pytest.mark.parametrize("groups", [1, 3])
def test_delta_orthogonal_keeps_the_norm_of_a_real_convolution(kernel, groups):
    torch = pytest.importorskip("torch")
    inputs, outputs = 4 * groups, 6 * groups
    axes = f"({groups} O)I..."
    weight = torch.from_numpy(delta_orthogonal(1.5)((outputs, 4, *kernel), "float64", axes=axes, seed=1))
    x = torch.randn(2, inputs, *[7] * len(kernel), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pads = [pad for size in reversed(kernel) for pad in ((size - 1) // 2, size // 2)]  # "same" padding
    convolution = getattr(torch.nn.functional, f"conv{len(kernel)}d")
    y = convolution(torch.nn.functional.pad(x, pads), weight, groups=groups)
    assert y.shape[2:] == x.shape[2:]
    norms = [t.reshape(2, groups, -1, *t.shape[2:]).norm(dim=2) for t in (x, y)]
    assert torch.allclose(norms[1], 1.5 * norms[0], rtol=1e-12)


@pytest.mark.parametrize("kernel", [(3,), (4,), (2, 5)], ids=str)
def test_delta_orthogonal_has_the_centre_of_jax(kernel):
    jax = pytest.importorskip("jax")
    peer = jax.nn.initializers.delta_orthogonal()(jax.random.key(0), (*kernel, 3, 5))
    assert ((delta_orthogonal()((*kernel, 3, 5), seed=0) != 0) == (np.asarray(peer) != 0)).all()


def test_wrong_arguments_and_shapes_are_errors():
    with pytest.raises(ValueError, match="at least as many as inputs, got 9 inputs and 4 outputs"):
        delta_orthogonal()((3, 3, 9, 4), seed=0)
    with pytest.raises(ValueError, match=r"shape must have at least 2 axes for orthogonal, got \(7,\)"):
        orthogonal()(7, seed=0)
    with pytest.raises(ValueError, match="at least 2 axes"):
        delta_orthogonal()((), seed=0)
    with pytest.raises(TypeError, match="gain must be a real number, got 'a'"):
        orthogonal("a")
    with pytest.raises(ValueError, match="gain must be finite"):
        delta_orthogonal(math.nan)
    out = np.full((3, 3, 9, 4), 7, np.float32)
    with pytest.raises(ValueError, match="outputs"):
        delta_orthogonal()(out.shape, seed=0, out=out)
    assert (out == 7).all()
    with pytest.raises(ValueError, match="overflow float16"):
        orthogonal(1e6)((3, 3), "float16", seed=0)


def test_an_empty_weight_is_drawn():
    assert orthogonal()((0, 5), seed=0).shape == (0, 5)
    assert delta_orthogonal()((3, 0, 0, 5), seed=0).shape == (3, 0, 0, 5)


# In another process: where `torch.compile` watches each call, Python keeps arguments for longer.
HELD = """
import tracemalloc, numpy as np
from initlib import orthogonal
orthogonal()((2, 2), seed=0)
for shape, axes in [((1024, 1024), "IO"), ((512, 4096), "IO"), ((8, 128, 128), "BIO")]:
    out = np.empty(shape)
    tracemalloc.start()
    orthogonal()(shape, "float64", axes=axes, seed=0, out=out)
    print(tracemalloc.get_traced_memory()[1] / out.nbytes)
    tracemalloc.stop()
"""


def test_a_draw_holds_fewer_than_three_matrices():
    ran = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True)
    held = [float(line) for line in ran.stdout.splitlines()]
    assert len(held) == 3
    assert max(held) < 2.8

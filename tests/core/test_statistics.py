"""Empirical distributions, with fixed seeds, and thresholds that 1000 tests together never fail by chance.

Chance exceeds each threshold with probability 1e-12 (z = 7.13): Kolmogorov-Smirnov by the
Dvoretzky-Kiefer-Wolfowitz inequality, rigorous for every n; the others by the normal approximation.
"""

import math

import numpy as np
import pytest

from initlib import Key, glorot_uniform, he_normal, he_uniform, normal, truncated_normal, uniform, variance_scaling
from initlib.schemes._variance import TRUNCATED_STD
from initlib.stream.distributions import truncated_moments
from initlib.stream.reference import COLUMNS

special = pytest.importorskip("scipy.special")

ALPHA = 1e-12
Z = 7.13
N = 2**20
SHAPE = (1024, 1024)
KURTOSIS = {"normal": 3.0, "truncated_normal": 2.3655367, "uniform": 1.8}
PRESETS = [
    (factor, mode, distribution)
    for factor, mode in [(2.0, "fan_in"), (1.0, "fan_avg"), (1.0, "fan_in"), (3.0, "fan_out"), (1.0, "fan_geo_avg")]
    for distribution in KURTOSIS
]


def cdf(distribution, z):
    """Return the distribution of that name, with mean 0 and variance 1."""
    if distribution == "uniform":
        return np.clip(z / math.sqrt(12) + 0.5, 0, 1)
    if distribution == "normal":
        return special.ndtr(z)
    tail = special.ndtr(-2.0)
    return np.clip((special.ndtr(z * TRUNCATED_STD) - tail) / (1 - 2 * tail), 0, 1)


def kolmogorov_smirnov(sample, cdf):
    expected = cdf(np.sort(sample))
    grid = np.arange(len(sample) + 1) / len(sample)
    return max((grid[1:] - expected).max(), (expected - grid[:-1]).max())


def assert_moments(z, kurtosis, extra=0.0):
    """Check mean 0 and variance 1, within chance and a relative `extra` for the rounding of a dtype."""
    assert abs(z.mean()) < Z / math.sqrt(z.size)
    assert abs(z.std() - 1) < Z * math.sqrt((kurtosis - 1) / (4 * z.size)) + extra


@pytest.mark.parametrize(("factor", "mode", "distribution"), PRESETS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_every_preset_has_its_variance(factor, mode, distribution, dtype):
    initializer = variance_scaling(factor, mode, distribution)
    shape = (2048, 512)
    z = initializer(shape, dtype, seed=11).astype(np.float64).ravel() / initializer.std(shape)
    assert_moments(z, KURTOSIS[distribution], extra=2.0**-17 if dtype == "bfloat16" else 2.0**-20)


@pytest.mark.parametrize("distribution", KURTOSIS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axes", ["IO", "OI", "(4 O)I"])
def test_weights_follow_their_distribution(distribution, dtype, axes):
    initializer = variance_scaling(1.0, "fan_in", distribution)
    z = initializer(SHAPE, dtype, seed=12, axes=axes).astype(np.float64).ravel() / initializer.std(SHAPE, axes)
    assert kolmogorov_smirnov(z, lambda x: cdf(distribution, x)) < math.sqrt(math.log(2 / ALPHA) / (2 * N))


@pytest.mark.parametrize(
    ("low", "high"), [(-2.0, 2.0), (-1.0, 3.0), (0.5, 2.0), (-0.05, 0.02), (2.0, 5.0), (-30.0, 0.0), (-9.0, 9.0)]
)
def test_truncated_weights_follow_their_distribution(low, high):
    initializer = truncated_normal(1.0, 0.5, 1.0 + low / 2, 1.0 + high / 2)
    z = (initializer(N, "float64", seed=13) - 1.0) * 2
    assert low <= z.min()
    assert z.max() <= high
    mass = special.ndtr(high) - special.ndtr(low)
    distance = kolmogorov_smirnov(z, lambda x: np.clip((special.ndtr(x) - special.ndtr(low)) / mass, 0, 1))
    assert distance < math.sqrt(math.log(2 / ALPHA) / (2 * N))
    mean, std = truncated_moments(low, high)
    assert abs(z.mean() - mean) < Z * std / math.sqrt(N)
    assert initializer.std(N) == pytest.approx(std / 2, rel=1e-12)


def test_moments_of_a_window_are_the_closed_forms():
    for low, high in [(-2.0, 2.0), (-1.0, 3.0), (0.5, 2.0), (-0.3, 0.1), (2.0, 3.0)]:
        a, b = (math.exp(-z * z / 2) / math.sqrt(2 * math.pi) for z in (low, high))
        mass = special.ndtr(high) - special.ndtr(low)
        mean = (a - b) / mass
        variance = 1 + (low * a - high * b) / mass - mean**2
        assert truncated_moments(low, high) == pytest.approx((mean, math.sqrt(variance)), rel=1e-9)
    assert truncated_moments(-2.0, 2.0)[1] == pytest.approx(TRUNCATED_STD, rel=1e-14, abs=0)
    mpmath = pytest.importorskip("mpmath")
    exact = mpmath.sqrt(1 - 4 * mpmath.npdf(2) / mpmath.erf(mpmath.sqrt(2)))
    assert float(exact) == TRUNCATED_STD
    assert truncated_moments(-math.inf, math.inf) == pytest.approx((0.0, 1.0), abs=1e-14)


def test_the_std_of_a_truncated_normal_differs_from_contrib():
    """The factor 1.3 of contrib makes the std 0.29% too large, which 2**24 draws resolve."""
    z = he_normal((4096, 4096), seed=14).ravel() / he_normal.std((4096, 4096))
    n = z.size
    error = abs(float(np.sqrt(np.mean(np.square(z, dtype=np.float64)))) - 1)
    assert error < Z * math.sqrt((2.3655367 - 1) / (4 * n))
    assert math.sqrt(1.3) * TRUNCATED_STD - 1 - error > Z * math.sqrt((2.3655367 - 1) / (4 * n))


def test_the_std_after_truncation_holds_in_exact_arithmetic():
    """The variance of the noise, summed over the rows of the table by probability, is that of the window."""
    lo = round(special.ndtr(-2.0) * 2**32)
    tail = np.arange(lo, 2**31, 4099, dtype=np.int64) | 1
    bits = tail.astype(np.float32).view(np.int32)
    row, u = (bits >> 20) - 1016, bits & 0xFFFFF
    c0, c1, c2, c3 = (column[row].astype(np.float64) for column in COLUMNS)
    x = u / 2**20
    noise = (c0 + x * (c1 + x * (c2 + x * c3))) / 2**21
    assert math.sqrt(np.mean(noise**2)) == pytest.approx(TRUNCATED_STD, rel=1e-4)


@pytest.mark.parametrize("initializer", [uniform(-1, 1), normal(), he_normal], ids=repr)
@pytest.mark.parametrize("lag", [1, 2, 3, 64, 1024, 8192])
def test_weights_at_any_lag_are_uncorrelated(initializer, lag):
    z = initializer(SHAPE, "float64", seed=15).ravel()
    z /= z.std()
    assert abs(np.mean(z[:-lag] * z[lag:])) < Z / math.sqrt(z.size - lag)


NEIGHBOURS = [
    ("seeds 0 and 1", Key(0), Key(1)),
    ("seeds apart by 2**32", Key(5), Key(5 + 2**32)),
    ("names", Key(0).fold_in("layer1"), Key(0).fold_in("layer2")),
    ("ints", Key(0).fold_in(1), Key(0).fold_in(2)),
    ("seed and its child", Key(0), Key(0).fold_in(0)),
]


@pytest.mark.parametrize(("one", "two"), [row[1:] for row in NEIGHBOURS], ids=[row[0] for row in NEIGHBOURS])
def test_neighbouring_keys_are_independent(one, two):
    """Words of two keys are uncorrelated, and uniform together on 64 by 64 cells."""
    x, y = (uniform(0, 1)(N, "float64", seed=key) for key in (one, two))
    assert abs(np.mean((x - 0.5) * (y - 0.5)) * 12) < Z / math.sqrt(N)
    assert chi_square((x * 64).astype(int) * 64 + (y * 64).astype(int), 4096) < 4764.3


def chi_square(cells, count, expected=None):
    counts = np.bincount(cells, minlength=count)
    expected = np.full(count, len(cells) / count) if expected is None else expected * len(cells)
    return float(((counts - expected) ** 2 / expected).sum())


def test_words_and_pairs_are_uniform():
    words = Key(16).bits(N)
    for shift in (24, 16, 8, 0):
        assert chi_square((words >> shift & 255).astype(int), 256) < 447.5
    u = (words >> 26).astype(int)
    assert chi_square(u[:-1:2] * 64 + u[1::2], 4096) < 4764.3
    assert chi_square((words >> 22).astype(int), 1024) < 1374.2


@pytest.mark.parametrize("distribution", KURTOSIS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_weights_follow_the_rounded_distribution(distribution, dtype):
    """Chi-square against the exact probability that each value inside the bounds is the nearest one to a real draw."""
    n = 2**22
    initializer = variance_scaling(1.0, "fan_in", distribution)
    shape = (2048, 2048)
    std = initializer.std(shape)
    weight = initializer(shape, dtype, seed=17).ravel()
    assert len(np.unique(weight)) > 2000
    patterns = np.arange(2**16, dtype=np.uint16).view(weight.dtype)
    with np.errstate(invalid="ignore"):  # some patterns are NaN
        values = np.unique(patterns[np.isfinite(patterns)].astype(np.float64))
    values = values[np.abs(values) <= initializer.bounds(shape)[1]]
    # Cells between neighbouring values' midpoints, each of about 1/256 of the mass.
    edges = (values[1:] + values[:-1]) / 2
    cells = np.searchsorted(cdf(distribution, edges / std), np.arange(1, 256) / 256)
    edges = np.unique(edges[np.minimum(cells, len(edges) - 1)])
    mass = np.diff(np.concatenate([[0.0], cdf(distribution, edges / std), [1.0]]))
    counts = np.searchsorted(edges, weight.astype(np.float64))
    assert len(mass) > 200
    assert chi_square(counts, len(mass), mass) < 447.5
    assert abs(weight.astype(np.float64).mean() / std) < Z / math.sqrt(n)


@pytest.mark.parametrize("initializer", [he_normal, he_uniform, glorot_uniform], ids=repr)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_support_is_exact(initializer, dtype):
    """No weight is beyond its bound, and the largest is close to it."""
    shape = (2048, 2048)
    weight = np.abs(initializer(shape, dtype, seed=18).astype(np.float64))
    bound = initializer.bounds(shape)[1]
    assert weight.max() <= bound
    assert weight.max() > bound * (1 - 2.0**-7)

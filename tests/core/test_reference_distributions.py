"""Reference distributions against SciPy: moments, cumulative distribution functions and chances."""

import numpy as np
import pytest

from initlib.diagnostics.audit.reference_distributions import REFERENCE_DISTRIBUTIONS, kolmogorov, wilson_hilferty

stats = pytest.importorskip("scipy.stats")
PEERS = [
    stats.uniform(-(3**0.5), 2 * 3**0.5),
    *(stats.truncnorm(-cut, cut, scale=1 / stats.truncnorm(-cut, cut).std()) for cut in (2, 3)),
    stats.norm(),
]


@pytest.mark.parametrize(
    ("distribution", "peer"),
    list(zip(REFERENCE_DISTRIBUTIONS, PEERS, strict=True)),
    ids=[distribution.label for distribution in REFERENCE_DISTRIBUTIONS],
)
def test_moments_bounds_and_cdf_are_those_of_scipy(distribution, peer):
    assert distribution.moments == pytest.approx([peer.moment(order) for order in (2, 4, 6, 8)], rel=1e-6)
    assert distribution.bound == pytest.approx(peer.support()[1])
    x = np.linspace(-4, 4, 101)
    assert distribution.cdf(x) == pytest.approx(peer.cdf(x), abs=1e-12)


@pytest.mark.parametrize("size", [50, 5000])
def test_kolmogorov_is_that_of_scipy(size):
    x = np.sort(stats.norm().rvs(size, random_state=0))
    distance, chance = kolmogorov(REFERENCE_DISTRIBUTIONS[-1].cdf(x))
    peer = stats.kstest(x, "norm")
    assert distance == pytest.approx(peer.statistic)
    assert chance == pytest.approx(peer.pvalue, abs=0.02)
    far = kolmogorov(REFERENCE_DISTRIBUTIONS[-1].cdf(x + 1))
    assert far[1] < 1e-6
    assert kolmogorov(np.array([0.5]))[0] == 0.5


@pytest.mark.parametrize("freedom", [30, 63, 1000])
def test_wilson_hilferty_approximates_the_chi_square(freedom):
    for chance in (1e-4, 0.3, 0.7, 1 - 1e-4):
        value = stats.chi2(freedom).ppf(chance)
        assert wilson_hilferty(value, freedom, 2 * freedom) == pytest.approx(stats.norm.ppf(chance), abs=0.08)
    assert wilson_hilferty(0.0, freedom, 2 * freedom) < -3

"""Laws: moments and shares by SciPy, and chances by what they are of."""

import numpy as np
import pytest

from initlib.diagnostics.audit.reference_distributions import LAWS, kolmogorov, wilson_hilferty

stats = pytest.importorskip("scipy.stats")
PEERS = [
    stats.uniform(-(3**0.5), 2 * 3**0.5),
    *(stats.truncnorm(-cut, cut, scale=1 / stats.truncnorm(-cut, cut).std()) for cut in (2, 3)),
    stats.norm(),
]


@pytest.mark.parametrize(("law", "peer"), list(zip(LAWS, PEERS, strict=True)), ids=[law.label for law in LAWS])
def test_laws(law, peer):
    assert law.moments == pytest.approx([peer.moment(order) for order in (2, 4, 6, 8)], rel=1e-6)
    assert law.bound == pytest.approx(peer.support()[1])
    x = np.linspace(-4, 4, 101)
    assert law.cdf(x) == pytest.approx(peer.cdf(x), abs=1e-12)


@pytest.mark.parametrize("size", [50, 5000])
def test_kolmogorov(size):
    x = np.sort(stats.norm().rvs(size, random_state=0))
    distance, chance = kolmogorov(LAWS[-1].cdf(x))
    peer = stats.kstest(x, "norm")
    assert distance == pytest.approx(peer.statistic)
    assert chance == pytest.approx(peer.pvalue, abs=0.02)
    far = kolmogorov(LAWS[-1].cdf(x + 1))
    assert far[1] < 1e-6
    assert kolmogorov(np.array([0.5]))[0] == 0.5


@pytest.mark.parametrize("freedom", [30, 63, 1000])
def test_wilson_hilferty(freedom):
    for chance in (1e-4, 0.3, 0.7, 1 - 1e-4):
        value = stats.chi2(freedom).ppf(chance)
        assert wilson_hilferty(value, freedom, 2 * freedom) == pytest.approx(stats.norm.ppf(chance), abs=0.08)
    assert wilson_hilferty(0.0, freedom, 2 * freedom) < -3

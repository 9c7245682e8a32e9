import math

import numpy as np
import pytest

from initlib import inverse_softplus, log_uniform, normal, uniform


def test_the_logarithm_is_uniform():
    scheme = log_uniform(1e-3, 0.1)
    weights = np.sort(np.log(scheme(2**16, "float64", seed=0)))
    expected = np.linspace(math.log(1e-3), math.log(0.1), 2**16)
    assert np.abs(weights - expected).max() / math.log(100) < 0.0147  # Dvoretzky, Kiefer, Wolfowitz at 1e-12
    assert abs(scheme(2**20, seed=1).std() / scheme.std(2**20) - 1) < 0.01
    assert scheme.bounds(3) == (1e-3, 0.1)


def test_softplus_of_the_weights_is_the_draw():
    steps = log_uniform(1e-3, 0.1)
    bias = inverse_softplus(steps)(1000, "float64", seed=4)
    assert np.allclose(np.log1p(np.exp(bias)), steps(1000, "float64", seed=4), rtol=1e-9)
    low, high = inverse_softplus(steps).bounds(1000)
    assert low <= bias.min() <= bias.max() <= high


def test_weights_below_the_floor_count_as_the_floor():
    bias = inverse_softplus(uniform(-1.0, 1.0), floor=0.5)(1000, "float64", seed=0)
    assert np.log1p(np.exp(bias)).min() == pytest.approx(0.5)


def test_boxes_and_factors_are_those_of_the_full_weight():
    scheme = inverse_softplus(log_uniform(0.01, 1.0))
    whole = scheme((30, 20), seed=2)
    assert (scheme((30, 20), seed=2, index=(slice(3, 20, 4), 7)) == whole[3:20:4, 7]).all()
    assert np.allclose((scheme * 2)((30, 20), seed=2), 2 * whole, rtol=1e-6)


@pytest.mark.parametrize("engine", ["jax", "torch"])
def test_engines_agree(engine):
    library = pytest.importorskip(engine)
    if engine == "jax":
        from initlib.adapters.jax import initializer

        drawn = initializer(inverse_softplus(log_uniform(1e-3, 0.1)))
        weights = library.jit(lambda key: drawn(key, (64,)))(library.random.key(0))
    else:
        from initlib import Key
        from initlib.adapters.torch.drawing.devices import engine_of
        from initlib.stream.engine import DrawRequest

        device = engine_of(library.device("cpu"))
        weights = inverse_softplus(log_uniform(1e-3, 0.1)).weights(DrawRequest((64,), None, "float32", Key(0)), device)
    assert np.allclose(np.asarray(weights), inverse_softplus(log_uniform(1e-3, 0.1))(64, seed=0), rtol=2e-6)


def test_wrong_arguments_are_errors():
    with pytest.raises(ValueError, match="low must be above 0, got 0"):
        log_uniform(0.0, 1.0)
    with pytest.raises(ValueError, match="low must not be above high"):
        log_uniform(2.0, 1.0)
    with pytest.raises(TypeError, match="initializer must be an initlib initializer, got 3"):
        inverse_softplus(3)
    with pytest.raises(ValueError, match="floor must be above 0"):
        inverse_softplus(normal(), 0.0)

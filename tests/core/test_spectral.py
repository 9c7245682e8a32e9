import math

import numpy as np
import pytest

from initlib import spectral


@pytest.mark.parametrize(("shape", "axes"), [((512, 512), None), ((256, 1024), None), ((200, 900), "OI")])
def test_weights_have_the_spectral_norm(shape, axes):
    weight = spectral(1.5)(shape, axes=axes, seed=0)
    inputs, outputs = shape if axes is None else shape[::-1]
    assert np.linalg.norm(weight, 2) == pytest.approx(1.5 * math.sqrt(outputs / inputs), rel=0.03)
    assert weight.std() == pytest.approx(spectral(1.5).std(shape, axes), rel=7.13 / math.sqrt(2 * weight.size))


def test_a_convolution_counts_as_the_matrix_of_its_patches():
    shape = (128, 32, 3, 3)
    weight = spectral()(shape, axes="OIHW", seed=0)
    assert np.linalg.norm(weight.reshape(128, -1), 2) == pytest.approx(math.sqrt(128 / 288), rel=0.05)
    assert spectral().std((3, 128, 288), axes="BOI") == spectral().std(shape, axes="OIHW")


@pytest.mark.parametrize(("rows", "columns"), [(10, 10), (10, 1000), (1000, 10)])
def test_the_std_is_that_of_the_paper_up_to_a_factor(rows, columns):
    paper = min(1, math.sqrt(columns / rows)) / math.sqrt(rows)
    assert paper / 2 <= spectral().std((rows, columns)) <= paper


def test_wrong_arguments_and_shapes_are_errors():
    with pytest.raises(ValueError, match="gain must be at least 0"):
        spectral(-1)
    with pytest.raises(ValueError, match="at least 2 axes"):
        spectral()(4, seed=0)
    with pytest.raises(ValueError, match="shape must have inputs and outputs for spectral"):
        spectral().std((0, 4))
    assert spectral(2) == spectral() * 2

import itertools

import numpy as np
import pytest

from initlib import dirac, identity, zero_hadamard
from initlib.stream.numpy_engine import NUMPY


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (1, 1), (1, 4)], ids=str)
def test_identity_is_the_eye_of_numpy(shape, dtype):
    assert (identity(1.5)(shape, dtype).astype(float) == 1.5 * np.eye(*shape)).all()
    assert (identity(1.5)(shape, dtype, axes="OI").astype(float) == 1.5 * np.eye(*shape)).all()


def test_each_stack_has_its_identity():
    assert (identity()((3, 4, 5), axes="BIO") == np.eye(4, 5)).all()
    assert (identity()((3 * 4, 5), axes="(3 O)I").reshape(3, 4, 5) == np.eye(4, 5)).all()
    assert (identity()((6, 2, 3), axes="IOO").reshape(6, 6) == np.eye(6)).all()


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kernel", [(3,), (4,), (3, 3), (2, 4), (3, 2, 3)], ids=str)
@pytest.mark.parametrize("channels", [(8, 3), (8, 8), (4, 8)], ids=str)
def test_dirac_equals_pytorch(groups, kernel, channels):
    torch = pytest.importorskip("torch")
    shape = (*channels, *kernel)
    expected = torch.nn.init.dirac_(torch.empty(shape), groups).numpy()
    assert (dirac()(shape, axes=f"({groups} O)I...") == expected).all()


@pytest.mark.parametrize("kernel", [(3,), (4,), (5, 2), (3, 3, 2)], ids=str)
@pytest.mark.parametrize("groups", [1, 3])
def test_dirac_passes_a_real_convolution_through(kernel, groups):
    torch = pytest.importorskip("torch")
    weight = torch.from_numpy(dirac(2.0)((4 * groups, 4, *kernel), axes=f"({groups} O)I..."))
    x = torch.randn(2, 4 * groups, *[6] * len(kernel), generator=torch.Generator().manual_seed(0))
    convolution = getattr(torch.nn.functional, f"conv{len(kernel)}d")
    y = convolution(x, weight, groups=groups, padding=tuple(size // 2 for size in kernel))
    assert torch.equal(y[(slice(None), slice(None), *[slice(6)] * len(kernel))], 2 * x)


def test_dirac_of_a_depthwise_kernel_passes_its_input_through():
    kernel = dirac()((3, 3, 5, 2), axes="HWBO")
    assert (kernel[1, 1] == [[1, 0]] * 5).all()
    assert kernel.sum() == 5


SCHEMES = [(identity(2.0), (6, 10), "(2 O)I"), (dirac(-1.0), (4, 3, 6, 8), None), (zero_hadamard(), (3, 6, 17), None)]


@pytest.mark.parametrize(("scheme", "shape", "axes"), SCHEMES, ids=str)
def test_a_box_equals_the_box_of_the_full_weight(scheme, shape, axes):
    whole = scheme(shape, axes=axes)
    entries = [0, -1, slice(None), slice(1, None), slice(None, None, -2), slice(1, 1)]
    for index in itertools.product(entries, repeat=2):
        assert (scheme(shape, axes=axes, index=index) == whole[index]).all()
    out = np.full((*shape[:-1], 2 * shape[-1]), 7, np.float32)
    assert (scheme(shape, axes=axes, out=out[..., ::2]) == whole).all()
    assert (out[..., 1::2] == 7).all()


@pytest.mark.parametrize(("scheme", "shape", "axes"), SCHEMES, ids=str)
def test_std_and_bounds_are_those_of_the_weights(scheme, shape, axes):
    weight = scheme(shape, "float64", axes=axes)
    assert scheme.std(shape, axes) == pytest.approx(weight.std(), rel=1e-12)
    assert scheme.bounds(shape, axes) == (weight.min(), weight.max())


def test_a_box_of_an_immense_weight_costs_the_box():
    far = 2**31
    box = identity()((2**33, 2**30), index=(slice(5, 8), slice(6, 10)))
    assert (box == np.eye(3, 4, -1)).all()
    box = dirac()((2**33, 2**29), axes="(4 O)I", index=(slice(far, far + 3), slice(0, 3)))
    assert (box == np.eye(3)).all()
    assert zero_hadamard()((2**20, 2**40), index=(3, slice(0, 4))).tolist() == [x * 2.0**-20 for x in (1, -1, -1, 1)]


def test_pieces_are_the_full_weight(monkeypatch):
    monkeypatch.setattr(NUMPY, "piece", 7)
    test_a_box_equals_the_box_of_the_full_weight(zero_hadamard(), (3, 6, 17), None)
    assert (identity()((30, 20)) == np.eye(30, 20)).all()


def test_wrong_shapes_and_gains_are_errors():
    out = np.full((3, 3), 7, np.float16)
    with pytest.raises(ValueError, match=r"weights as large as 7e\+04 overflow float16"):
        identity(7e4)((3, 3), "float16", out=out)
    assert (out == 7).all()
    with pytest.raises(ValueError, match=r"axes of identity must be inputs and outputs alone, got shape \(3, 4, 5\)"):
        identity()((3, 4, 5))
    with pytest.raises(ValueError, match="Use dirac for a convolution"):
        identity().std((3, 3, 4, 5))
    with pytest.raises(ValueError, match="shape must have at least 2 axes for dirac"):
        dirac()(5)
    with pytest.raises(ValueError, match="gain must be finite"):
        dirac(float("inf"))

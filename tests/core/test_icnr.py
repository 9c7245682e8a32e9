import numpy as np
import pytest

from initlib import constant, dirac, glorot_uniform, he_normal, icnr, orthogonal, sparse


@pytest.mark.parametrize("upscale", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("initializer", [he_normal, orthogonal(), sparse(0.5)], ids=repr)
def test_pixel_shuffle_gives_nearest_neighbours(initializer, groups, upscale):
    torch = pytest.importorskip("torch")
    functional, axes = torch.nn.functional, f"({groups} O)IHW"
    shape = (4 * groups * upscale**2, 3, 3, 2)
    weight = icnr(initializer, upscale)(shape, "float64", axes=axes, seed=1)
    small = initializer((4 * groups, 3, 3, 2), "float64", axes=axes, seed=1)
    x = torch.randn(1, 3 * groups, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fine = functional.pixel_shuffle(functional.conv2d(x, torch.from_numpy(weight), groups=groups), upscale)
    coarse = functional.conv2d(x, torch.from_numpy(small), groups=groups)
    assert torch.allclose(fine, coarse.repeat_interleave(upscale, 2).repeat_interleave(upscale, 3), atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_depth_to_space_gives_nearest_neighbours(dtype):
    # Channel (dy * 2 + dx) * 5 + c of TensorFlow's depth_to_space goes to channel c of the pixel (dy, dx).
    kernel = icnr(he_normal, 2, "depth_to_space")((3, 3, 7, 20), dtype, seed=1)
    small = he_normal((3, 3, 7, 5), dtype, seed=1)
    assert (kernel.reshape(3, 3, 7, 4, 5) == small[:, :, :, None]).all()


def test_kernels_may_have_one_or_three_field_axes():
    assert (np.diff(icnr(he_normal, 3)((5, 4, 9), seed=0).reshape(5, 4, 3, 3)) == 0).all()
    assert (np.diff(icnr(he_normal, 2)((3, 3, 3, 4, 8), seed=0)) == 0).all()


def test_std_and_bounds_are_those_of_the_small_kernel():
    scheme = icnr(glorot_uniform, 2)
    assert scheme.std((64, 32, 3, 3), "OIHW") == glorot_uniform.std((16, 32, 3, 3), "OIHW")
    assert scheme.bounds((3, 3, 32, 64)) == glorot_uniform.bounds((3, 3, 32, 16))


def test_boxes_reprs_and_nested_initializers():
    scheme = icnr(icnr(he_normal, 2) * 0.5, 2)
    whole = scheme((3, 3, 4, 32), seed=0)
    assert (scheme((3, 3, 4, 32), seed=0, index=(1, 2, slice(2), slice(3, 30, 5))) == whole[1, 2, :2, 3:30:5]).all()
    assert repr(icnr(dirac(), 2)) == "icnr(initializer=dirac(gain=1.0), upscale=2, shuffle='pixel_shuffle')"


def test_wrong_arguments_and_shapes_are_errors():
    with pytest.raises(TypeError, match="initializer must be an initlib initializer, got 'he_normal'"):
        icnr("he_normal", 2)
    assert (icnr(constant(1), 2)((2, 2, 3, 8)) == 1).all()
    with pytest.raises(TypeError, match=r"upscale must be an int, got 2\.0"):
        icnr(he_normal, 2.0)
    with pytest.raises(ValueError, match="upscale must be at least 1, got 0"):
        icnr(he_normal, 0)
    with pytest.raises(ValueError, match="shuffle must be one of pixel_shuffle, depth_to_space"):
        icnr(he_normal, 2, "nearest")
    with pytest.raises(ValueError, match="must be a multiple of 4, got 6 outputs"):
        icnr(he_normal, 2)((3, 3, 4, 6), seed=0)
    for shape, axes in (((4, 8), None), ((3, 8), "WI"), ((3, 4, 4, 4), "WIOO")):
        with pytest.raises(ValueError, match="must have one output axis and a receptive field"):
            icnr(he_normal, 2)(shape, axes=axes, seed=0)
    with pytest.raises(ValueError, match="must not pack outputs"):
        icnr(he_normal, 2, "depth_to_space")((8, 4, 3), axes="(2 O)IW", seed=0)

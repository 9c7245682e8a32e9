"""A plain tensor that holds a box or a range of a bigger weight gets the bits of the full weight."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import initlib.adapters.torch as init
from initlib import glorot_uniform, he_normal, orthogonal
from initlib.adapters.torch import fill_

FUNCTIONS = {
    **dict.fromkeys(["he_normal_", "he_uniform_", "glorot_normal_", "glorot_uniform_"], ()),
    **dict.fromkeys(["lecun_normal_", "lecun_uniform_", "truncated_normal_", "uniform_", "normal_"], ()),
    **dict.fromkeys(["xavier_uniform_", "xavier_normal_", "kaiming_uniform_", "orthogonal_"], ()),
    "kaiming_normal_": (0, "fan_out", "relu"),
    "trunc_normal_": (0.0, 0.5, -1.0, 0.5),
    "sparse_": (0.3,),
    "variance_scaling_": (2.0, "fan_avg", "uniform"),
}

SHAPES = [((7, 5), None), ((7, 5), "IO"), ((6, 4, 3), "(2 O)IK"), ((3, 4, 5), "BOI")]
DTYPES = [torch.float32, torch.bfloat16, torch.float64]


@given(
    record=st.sampled_from(SHAPES),
    dtype=st.sampled_from(DTYPES),
    initializer=st.sampled_from([he_normal, glorot_uniform, orthogonal()]),
    data=st.data(),
)
def test_a_slice_has_the_bits_of_the_full_weight(record, dtype, initializer, data):
    shape, axes = record
    how = {"axes": axes, "seed": 3, "name": "w"}
    whole = fill_(torch.empty(shape, dtype=dtype), initializer, **how)
    index = tuple(data.draw(st.one_of(st.integers(0, size - 1), st.slices(size))) for size in shape)
    taken = whole.numpy(force=True)[index] if dtype != torch.bfloat16 else whole.float().numpy()[index]
    part = fill_(torch.full(taken.shape, 9.0, dtype=dtype), initializer, **how, shape=shape, index=index)
    assert part.double().tolist() == taken.astype("float64").tolist()
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, whole.numel())] * 2)))
    memory = torch.full((2 * (stop - start),), 9.0, dtype=dtype)[::2]
    ranged = fill_(memory, initializer, **how, shape=shape, flat=slice(start, stop))
    assert torch.equal(ranged, whole.flatten()[start:stop])


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("axes", [None, "IO"])
def test_every_function_fills_slices(name, axes):
    """Fans and axes are those of the full weight, even if the slice has fewer axes than the function needs, or none."""
    fill, how = getattr(init, name), {"axes": axes, "seed": 3, "name": "w"}
    whole = fill(torch.empty(12, 7), *FUNCTIONS[name], **how)
    assert len(whole.unique()) > 12
    for index in (slice(3, 9), (slice(None), slice(2, 5)), 4, (slice(0, 12, 5), 6), slice(5, 5)):
        part = torch.full(whole[index].shape, 9.0)
        assert fill(part, *FUNCTIONS[name], **how, shape=(12, 7), index=index) is part
        assert torch.equal(part, whole[index])
    part = fill(torch.empty(20), *FUNCTIONS[name], **how, shape=(12, 7), flat=slice(11, 31))
    assert torch.equal(part, whole.flatten()[11:31])


def test_a_convolution_may_be_cut_by_its_channels():
    whole = init.delta_orthogonal_(torch.empty(16, 4, 3, 3), seed=0)
    part = init.delta_orthogonal_(torch.empty(8, 4, 3, 3), seed=0, shape=(16, 4, 3, 3), index=slice(8, 16))
    assert torch.equal(part, whole[8:])


def test_a_function_checks_the_full_weight():
    with pytest.raises(
        ValueError, match=r"Fan in and fan out can not be computed.*A bias has no fans: write zeros_\(bias\)"
    ):
        init.kaiming_normal_(torch.empty(4), shape=(12,), index=slice(4))
    with pytest.raises(ValueError, match="2 or more dimensions"):
        init.orthogonal_(torch.empty(4), shape=(12,), index=slice(4))
    with pytest.raises(TypeError, match="unexpected keyword argument 'shapes'"):
        init.normal_(torch.empty(4), shapes=(12,))


def test_the_default_axes_are_those_of_the_full_weight():
    whole = fill_(torch.empty(8, 6), he_normal, seed=0)
    assert torch.equal(fill_(torch.empty(6), he_normal, seed=0, shape=(8, 6), index=3), whole[3])
    assert torch.equal(fill_(torch.empty(48), he_normal, seed=0, shape=(8, 6), flat=slice(None)), whole.flatten())
    assert torch.equal(fill_(torch.empty(8, 6), he_normal, seed=0, shape=(8, 6)), whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"index": 3}, "shape must be the shape of the full weight"),
        ({"flat": slice(3)}, "shape must be the shape of the full weight"),
        ({"shape": (8, 6), "index": 3, "flat": slice(3)}, "index and flat must not both be given"),
        (
            {"shape": (8, 6), "index": slice(3)},
            r"tensor must have the shape \(3, 6\) of its slice of shape \(8, 6\), got \(6,\)",
        ),
        ({"shape": (8, 6), "flat": slice(3)}, r"the shape \(3,\) of its slice of shape \(8, 6\), got \(6,\)"),
        ({"shape": (8, 6), "flat": slice(0, 12, 2)}, "flat must have the step 1"),
        ({"shape": (8, 6)}, r"the shape \(8, 6\) of its slice"),
    ],
)
def test_slices_that_do_not_fit_are_errors(arguments, message):
    tensor = torch.full((6,), 9.0)
    with pytest.raises(ValueError, match=message):
        fill_(tensor, he_normal, seed=0, **arguments)
    assert tensor.eq(9).all()

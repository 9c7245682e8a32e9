"""Held: a plain tensor that is a box or a range of a bigger weight has the bits that the whole has there."""

import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from initlib.adapters.torch import fill_  # noqa: E402

from initlib import glorot_uniform, he_normal, orthogonal  # noqa: E402

SHAPES = [((7, 5), None), ((7, 5), "IO"), ((6, 4, 3), "(2 O)IK"), ((3, 4, 5), "BOI")]
DTYPES = [torch.float32, torch.bfloat16, torch.float64]


@given(
    record=st.sampled_from(SHAPES),
    dtype=st.sampled_from(DTYPES),
    initializer=st.sampled_from([he_normal, glorot_uniform, orthogonal()]),
    data=st.data(),
)
def test_a_part_is_that_of_the_whole(record, dtype, initializer, data):
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


def test_the_default_axes_are_those_of_the_whole():
    whole = fill_(torch.empty(8, 6), he_normal, seed=0)
    assert torch.equal(fill_(torch.empty(6), he_normal, seed=0, shape=(8, 6), index=3), whole[3])
    assert torch.equal(fill_(torch.empty(48), he_normal, seed=0, shape=(8, 6), flat=slice(None)), whole.flatten())
    assert torch.equal(fill_(torch.empty(8, 6), he_normal, seed=0, shape=(8, 6)), whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"index": 3}, "shape must be the whole weight's"),
        ({"flat": slice(3)}, "shape must be the whole weight's"),
        ({"shape": (8, 6), "index": 3, "flat": slice(3)}, "index and flat both say"),
        (
            {"shape": (8, 6), "index": slice(3)},
            r"tensor has shape \(6,\), and the part of shape \(8, 6\).* has \(3, 6\)",
        ),
        ({"shape": (8, 6), "flat": slice(3)}, r"tensor has shape \(6,\).* has \(3,\)"),
        ({"shape": (8, 6), "flat": slice(0, 12, 2)}, "flat must have the step 1"),
        ({"shape": (8, 6)}, r"has \(8, 6\)"),
    ],
)
def test_parts_that_do_not_fit(arguments, message):
    tensor = torch.full((6,), 9.0)
    with pytest.raises(ValueError, match=message):
        fill_(tensor, he_normal, seed=0, **arguments)
    assert tensor.eq(9).all()

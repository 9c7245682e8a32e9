"""Views: boxes of a tensor from views of its memory."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from initlib.adapters.torch.naming.views import box_of, overlap, same_memory


def some(size):
    """Return a strategy for indices of an axis."""
    slices = st.slices(size).filter(lambda part: part.step is None or part.step > 0)
    return st.one_of(st.integers(0, size - 1), slices)


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple), strided=st.booleans(), data=st.data())
def test_slices_and_permutations_are_boxes(shape, strided, data):
    whole = torch.arange(2 * torch.Size(shape).numel())[:: 2 if strided else 1][: torch.Size(shape).numel()].view(shape)
    index = tuple(data.draw(some(size)) for size in shape)
    view = whole[index]
    if view.numel() == 0:
        return
    view = view.permute(data.draw(st.permutations(range(view.ndim))))
    if data.draw(st.booleans()):
        view = view.unsqueeze(0)
    box = box_of(view, whole)
    assert box is not None
    assert same_memory(box.memory, whole[box.index])
    assert sorted(box.memory.flatten().tolist()) == sorted(view.flatten().tolist())


@given(shape=st.lists(st.integers(1, 4), min_size=2, max_size=3).map(tuple), data=st.data())
def test_rows_in_another_shape_are_boxes(shape, data):
    whole = torch.arange(torch.Size(shape).numel()).view(shape)
    first = data.draw(st.integers(0, shape[0] - 1))
    rows = whole[first:].reshape(-1)
    box = box_of(rows, whole)
    assert box is not None
    assert box.memory.flatten().tolist() == rows.tolist()
    assert same_memory(box.memory, whole if box.index is ... else whole[box.index])


def test_diagonals_parts_of_two_rows_and_repeated_rows_are_no_boxes():
    whole = torch.arange(24).view(4, 6)
    assert box_of(whole.view(-1)[4:8], whole) is None  # from one row to the next
    assert box_of(whole.diagonal(), whole) is None
    assert box_of(whole.view(-1)[::5], whole) is None
    assert box_of(whole[1:2].expand(3, 6), whole) is None


def test_views_of_one_memory_overlap_where_they_share_elements():
    memory = torch.arange(24)
    first, second = memory[:12].view(3, 4), memory[12:].view(3, 4)
    assert not overlap(first, second)
    assert overlap(memory[10:14], first)
    assert overlap(memory[10:14], second)


def test_views_of_two_dtypes_overlap_where_they_share_bytes():
    memory = torch.zeros(24)
    first, second = memory[:12].view(3, 4), memory[12:].view(3, 4)
    for dtype in (torch.float16, torch.float64):
        assert overlap(second.view(dtype), second)
        assert not overlap(second.view(dtype), first)
        assert not overlap(first.view(dtype), second)

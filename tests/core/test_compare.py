"""Reports of comparisons: the differences, a summary, and the source of foreign weights."""

import numpy as np
import pytest

from initlib import Parameter, Plan, keep, normal, orthogonal, parts, plan, uniform, zeros
from initlib.checkpoints.compare import Comparison, Difference, Differences
from initlib.checkpoints.held import HeldBox, HeldTensor
from initlib.key import Key
from initlib.stream.boxes import full_box, normalize_index


def held(array, shape=None, index=..., *, dtype=None, **options):
    """Return an array as a held box, which lies at an index of a tensor."""
    shape = array.shape if shape is None else shape
    box = HeldBox(normalize_index(index, shape), (lambda piece: array[piece.place],))
    return HeldTensor(("w",), shape, dtype or array.dtype.name, lambda: [box], **options)


def compare(made: Plan, tensor: HeldTensor, *, whole=True, name="w", seed=0):
    return Comparison(made.entries, Key(seed), whole=whole).difference(made[name], name, tensor)


MODEL = plan(
    [
        Parameter("w", (64, 32)),
        Parameter("same", (64, 32)),
        Parameter("longer", (96, 32)),
        Parameter("wider", (64, 48)),
        Parameter("still", (64, 32)),
    ],
    {"still": zeros},
    default=normal(std=0.02),
)
DRAWN = MODEL.draw(0)


def swapped(array, first, second):
    array = array.copy()
    array[first], array[second] = array[second].copy(), array[first].copy()
    return array


@pytest.mark.parametrize(
    ("array", "index", "holds"),
    [
        (swapped(DRAWN["w"], 3, 7), (3, 0), "row 7 of the same weight"),
        (swapped(DRAWN["w"], slice(0, 32), slice(32, 64)), (0, 0), "rows 32..63 of the same weight"),
        (swapped(DRAWN["w"], slice(10, 15), slice(20, 25)), (10, 0), "rows 20..24 of the same weight"),
        (np.roll(DRAWN["w"], 1, axis=0), (0, 0), "row 63 of the same weight"),
        (swapped(DRAWN["w"].T, slice(0, 16), slice(16, 32)).T, (0, 0), "columns 16..31 of the same weight"),
        (DRAWN["same"], (0, 0), "same"),
        (DRAWN["longer"][:64], (0, 0), "longer"),
        (DRAWN["longer"][32:], (0, 0), "rows 32..95 of longer"),
        (np.concatenate([DRAWN["w"][:8], DRAWN["same"][8:]]), (8, 0), "rows 8..63 of same"),
        (DRAWN["wider"][:, :32], (0, 0), None),
        (DRAWN["w"][::-1, ::-1], (0, 0), None),
        (DRAWN["still"], (0, 0), None),
        (-DRAWN["w"], (0, 0), None),
    ],
)
def test_the_source_of_foreign_weights_is_found(array, index, holds):
    assert compare(MODEL, held(array)) == Difference("w", "has other values", index, holds)


@pytest.mark.parametrize(
    ("index", "source", "holds"),
    [
        ((slice(32, 48),), (slice(0, 16),), "rows 0..15 of the same weight"),
        ((slice(None), slice(16, 24)), (slice(None), slice(8, 16)), "columns 8..15 of the same weight"),
        ((slice(16, 32), slice(0, 16)), (slice(48, 64), slice(0, 16)), "rows 48..63 of the same weight"),
    ],
)
def test_the_source_of_a_swapped_shard_is_found(index, source, holds):
    difference = compare(MODEL, held(DRAWN["w"][source], (64, 32), index))
    first = tuple((index[axis].start or 0) if axis < len(index) else 0 for axis in range(2))
    assert difference == Difference("w", "has other values", first, holds)
    assert compare(MODEL, held(DRAWN["w"][index], (64, 32), index)) is None


@pytest.mark.parametrize("shape", [(3000,), (6, 7, 8, 9), (4, 1), (1,), ()])
def test_a_source_is_found_in_weights_of_any_number_of_axes(shape):
    made = plan([Parameter("w", shape)], normal())
    drawn = made.draw(0)["w"]
    assert compare(made, held(drawn)) is None
    difference = compare(made, held(drawn + 1))
    assert difference.index == (0,) * len(shape)
    if shape == (3000,):
        assert compare(made, held(np.roll(drawn, 40))).holds == "weights 2960..2999 of the same weight"
    if len(shape) == 4:
        assert compare(made, held(swapped(drawn, 1, 4))).holds == "index 4 of axis 0 of the same weight"
        assert compare(made, held(np.roll(drawn, -2, axis=2))).holds == "indices 2..7 of axis 2 of the same weight"


def test_a_search_is_bounded(monkeypatch):
    monkeypatch.setattr("initlib.checkpoints.source.MOST", 2**12 + 64 * 8 - 1)
    assert compare(MODEL, held(swapped(DRAWN["w"], 3, 7))) == Difference("w", "has other values", (3, 0))


def test_another_shape_or_dtype_is_a_difference():
    assert compare(MODEL, held(DRAWN["w"].T)).what == "has shape (32, 64), but the plan has (64, 32)"
    assert compare(MODEL, held(DRAWN["w"].astype("float64"))).what == "has dtype float64, but the plan has float32"
    kept = plan([Parameter("w", (3,), "int64", default=keep)])
    assert compare(kept, held(np.arange(3))) is None
    assert compare(kept, held(np.arange(4))).what == "has shape (4,), but the plan has (3,)"


def test_an_unreadable_tensor_is_a_difference():
    def boxes():
        raise ValueError("its storage was freed")

    tensor = HeldTensor(("w",), (64, 32), "float32", boxes)
    assert compare(MODEL, tensor) == Difference("w", "cannot be read: its storage was freed")


def test_the_difference_with_the_lowest_index_is_reported():
    array = DRAWN["w"].copy()
    array[40, 5] = array[9, 20] = 1
    other = DRAWN["w"].copy()
    other[9, 3] = 1
    lower = HeldBox(normalize_index(slice(32, 64), (64, 32)), (lambda piece: array[32:][piece.place],))
    upper = HeldBox(
        normalize_index(slice(0, 32), (64, 32)),
        (lambda piece: array[:32][piece.place], lambda piece: other[:32][piece.place]),
    )
    assert compare(MODEL, HeldTensor(("w",), (64, 32), "float32", lambda: [lower, upper])).index == (9, 3)
    swapped = upper._replace(copies=upper.copies[::-1])
    assert compare(MODEL, HeldTensor(("w",), (64, 32), "float32", lambda: [lower, swapped])).index == (9, 3)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "complex64", "complex128"])
def test_weights_are_compared_by_their_bits(dtype):
    made = plan([Parameter("w", (40, 8), dtype)], normal())
    drawn = made.draw(0)["w"]
    assert compare(made, held(drawn)) is None
    changed = drawn.copy()
    changed[7, 3] = (
        np.nextafter(changed[7, 3].real, 9) + 1j * changed[7, 3].imag
        if "c" in dtype
        else np.nextafter(changed[7, 3], drawn.dtype.type(9))
    )
    assert compare(made, held(changed)).index == (7, 3)
    zero = plan([Parameter("w", (40, 8), dtype)], {"*": zeros})
    assert compare(zero, held(np.full((40, 8), -0.0, dtype))).index == (0, 0)


@pytest.mark.parametrize("initializer", [uniform(0.5, 1.5), normal(mean=3.0), 0.5 * normal(mean=3.0), orthogonal()])
def test_weights_of_compilers_are_compared_to_the_promised_accuracy(initializer):
    made = plan([Parameter("w", (40, 8), axes="OI")], {"*": initializer})
    drawn = made.draw(0)["w"]
    near = np.nextafter(drawn, np.float32(9))
    assert compare(made, held(near)) is None
    exact = compare(made, held(near, fused=False))
    assert (exact is None) == (initializer == orthogonal())
    near[11, 2] *= 1.001
    assert compare(made, held(near)).index == (11, 2)


def test_one_number_is_compared_to_the_promised_accuracy():
    made = plan([Parameter("w", ())], {"*": uniform(0.5, 1.5)})
    drawn = made.draw(0)["w"]
    assert compare(made, held(np.nextafter(drawn, np.float32(9), out=np.empty((), "float32")))) is None
    assert compare(made, held(drawn + np.ones((), "float32"), ())).index == ()


def test_parts_of_one_draw_may_lie_in_several_boxes():
    made = plan([Parameter("w", (24, 8), axes="OI")], {"w": parts({"q": (8, orthogonal()), "k": 16}, normal())})
    drawn = made.draw(0)["w"]
    boxes = [
        HeldBox(normalize_index(slice(at, at + 4), (24, 8)), (lambda piece, at=at: drawn[at : at + 4][piece.place],))
        for at in range(0, 24, 4)
    ]
    for whole in (False, True):
        assert compare(made, HeldTensor(("w",), (24, 8), "float32", lambda: boxes), whole=whole) is None
    drawn[5] += 1e-3
    assert compare(made, HeldTensor(("w",), (24, 8), "float32", lambda: boxes)).index == (5, 0)


def test_samples_read_a_small_share_of_a_large_tensor():
    made = plan([Parameter("w", (2000, 2048), "float16")], normal())
    array, read = np.empty((2000, 2048), "float16"), []
    made.draw_one("w", 0, out=array)

    def count(piece):
        values = array[piece.place]
        read.append(values.size)
        return values

    tensor = HeldTensor(("w",), array.shape, "float16", lambda: [HeldBox(full_box(array.shape), (count,))])
    assert compare(made, tensor, whole=False) is None
    assert sum(read) == 16 * 1024 < 0.01 * array.size
    array[1000, 1000] = 9
    assert compare(made, tensor, whole=False) is None  # as the documentation warns
    assert compare(made, tensor).index == (1000, 1000)


def test_a_result_is_a_tuple_with_a_summary():
    comparison = Comparison(MODEL.entries, Key(0), whole=False)
    nothing = comparison.result([])
    assert nothing == ()
    assert str(nothing) == "nothing differs: compared 0 tensors, 0 of 0 weights"
    difference = comparison.difference(MODEL["w"], "w", held(DRAWN["same"]))
    result = comparison.result([difference])
    assert isinstance(result, Differences)
    assert result == (difference,)
    assert str(result) == (
        "1 difference: compared 1 tensor, 2,048 of 2,048 weights\n'w' has other values from index (0, 0) on: holds same"
    )
